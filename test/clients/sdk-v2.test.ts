import { StreamableHTTPClientTransport, UrlElicitationRequiredError } from "@modelcontextprotocol/client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { newClient, openWithBearer, textOf } from "../journeys/steps/mcp-client.ts";
import { assertPage } from "../journeys/steps/person.ts";
import { type Household, Stage } from "../journeys/steps/stage.ts";
import { connectedPerson, echo, whoami } from "./connected-person.ts";

const urlElicitation = { elicitation: { url: {} } };

describe.each(["modern", "legacy"] as const)("the official SDK v2 client, %s era", (era) => {
  const stage = new Stage("sqlite");
  let house: Household;
  beforeAll(async () => {
    house = await connectedPerson(stage);
  });
  afterAll(() => stage.close());

  test("signs in by itself, lists and calls", async () => {
    const { client } = await stage.signIn(house.gateway, house.person, { era });
    const names = (await client.listTools()).tools.map((tool) => tool.name);
    expect(names).toEqual(expect.arrayContaining([echo, whoami]));
    expect(textOf(await client.callTool({ name: whoami }))).toBe("alice");
    expect(await client.callTool({ name: echo, arguments: { text: "hi" } })).toMatchObject({
      structuredContent: { text: "hi", length: 2 },
      _meta: { "example.test/echoed": true },
    });
    if (era === "legacy") await client.ping(); // 2026-07-28 knows no ping.
  });

  test("works with a virtual key as its bearer", async () => {
    const client = stage.keep(await openWithBearer(house.gateway.baseUrl, house.key.value, { era }));
    expect(textOf(await client.callTool({ name: whoami }))).toBe("alice");
  });
});

describe("a client that opens pages by itself", () => {
  const stage = new Stage("sqlite");
  afterEach(() => stage.close());

  test("2026-07-28: the call waits for the page and ends with the person's account", async () => {
    const { gateway, key, person } = await stage.household();
    const client = stage.keep(newClient({ capabilities: urlElicitation }));
    const opened: string[] = [];
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      if (params.mode !== "url") throw new Error(`an elicitation of mode ${params.mode}`);
      opened.push(params.url);
      assertPage(await person.connect(params.url));
      return { action: "accept" };
    });
    const requestInit = { headers: { authorization: `Bearer ${key.value}` } };
    await client.connect(
      new StreamableHTTPClientTransport(new URL("/mcp", gateway.baseUrl), { requestInit }),
    );
    expect(textOf(await client.callTool({ name: whoami }))).toBe("alice");
    expect(opened).toHaveLength(1);
  });

  test("2025-11-25: the error -32042 names the page, and the repeated call succeeds", async () => {
    const { gateway, key, person } = await stage.household();
    const options = { era: "legacy", capabilities: urlElicitation } as const;
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value, options));
    const error = await client.callTool({ name: whoami }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UrlElicitationRequiredError);
    const { elicitations, code } = error as UrlElicitationRequiredError;
    expect(code).toBe(-32042);
    expect(elicitations).toEqual([
      {
        mode: "url",
        elicitationId: expect.any(String),
        url: expect.any(String),
        message: expect.any(String),
      },
    ]);
    assertPage(await person.connect(elicitations[0]!.url));
    expect(textOf(await client.callTool({ name: whoami }))).toBe("alice");
  });
});
