import type { Client } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { textOf as pageText } from "../peers/browser.ts";
import { linkOf, openWithBearer, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const connect = { name: "connect_protected" };
const opensUrls = { elicitation: { form: {}, url: {} } };

const names = async (client: Client) => (await client.listTools()).tools.map(({ name }) => name);

journeys("the ladder", (stage) => {
  test("2026 era with URL mode: the official client opens the page, waits, and has its answer by one call", async () => {
    const { gateway, person, key, admin } = await stage.household();
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value, { capabilities: opensUrls }));
    const asked: string[] = [];
    let connecting: Promise<unknown> | undefined;
    // Says yes when the browser is open, as clients do, not when the person is through.
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      const { url } = params as { url: string };
      asked.push(url);
      connecting = person.connect(url);
      return { action: "accept" as const };
    });
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    await connecting;
    expect(asked).toHaveLength(1);
    expect(await admin.onlySession()).toMatchObject({ status: "active" });
    expect(await names(client)).not.toContain(connect.name);
  });

  test("2025-11-25 with URL mode: the error names the page; after it the same call succeeds", async () => {
    const { gateway, person, key } = await stage.household();
    const options = { era: "legacy" as const, capabilities: opensUrls };
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value, options));
    const error = await client.callTool(whoami).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: -32042 });
    const [{ url }] = (error as { data: { elicitations: { url: string }[] } }).data.elicitations as [
      { url: string },
    ];
    assertPage(await person.connect(url));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
  });

  test("words alone: fifty calls and connect_protected give one link; it is listed until it is used", async () => {
    const { gateway, person, key } = await stage.household();
    for (const era of ["modern", "legacy"] as const) {
      const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value, { era }));
      expect(await names(client)).toEqual(expect.arrayContaining([connect.name, whoami.name]));
      const link = linkOf(await client.callTool(whoami), "protected");
      const given = await client.callTool(connect);
      expect(given.isError).toBeFalsy();
      expect(textOf(given)).toContain(link);
    }
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    const results = await Promise.all(Array.from({ length: 50 }, () => client.callTool(whoami)));
    const links = new Set(results.map((result) => linkOf(result, "protected")));
    expect(links.size).toBe(1);
    assertPage(await person.connect([...links][0]!));
    expect(textOf(await client.callTool(connect))).toMatch(/^protected is already connected/);
    expect(await names(client)).not.toContain(connect.name);
    expect(textOf(await client.callTool(whoami))).toBe("alice");
  }, 60_000);

  test("somebody else who opens the link connects nothing, whether they have a key of their own or none", async () => {
    const { gateway, admin, upstreamId, key } = await stage.household();
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    const link = textOf(await client.callTool(connect))
      .split(" ")
      .at(-1)!;
    const other = await admin.createKey("Mallory", [upstreamId]);
    for (const thief of [stage.person(other.value), stage.person("sk-bf-none")]) {
      expect(pageText((await thief.connect(link)).html)).toContain("not the virtual key this link was made");
      expect((await admin.sessions()).filter(({ kind }) => kind !== "flow")).toEqual([]);
    }
    expect(textOf(await client.callTool(connect))).toContain(link);
  });
});

journeys("an upstream that is down", (stage) => {
  test("keeps its tools in every list, after a restart too, and the link is given at once", async () => {
    const { gateway, guarded, key } = await stage.household();
    const before = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    const listed = await names(before);
    expect(listed).toContain(whoami.name);
    await guarded.upstream.close();
    const look = async (at: { baseUrl: string }) => {
      const client = stage.keep(await openWithBearer(at.baseUrl, key.value));
      const started = performance.now();
      expect(await names(client)).toEqual(listed);
      linkOf(await client.callTool(whoami), "protected");
      expect(performance.now() - started).toBeLessThan(10_000);
    };
    await look(gateway);
    if (stage.kind === "postgres") await look(await stage.replica(gateway));
    await gateway.close();
    await look(await stage.open(gateway.options));
  });
});
