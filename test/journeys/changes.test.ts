import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { TellingUpstream } from "../peers/telling-upstream.ts";
import { readJson } from "../support/read.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";
import { listening, post, standing } from "./steps/streams.ts";

const FILE = "file:///readme.md";
/** Contract section 4: dead within one second of revocation on every replica. */
const AT_MOST_MS = 1_000;

interface Heard {
  client: Client;
  methods: string[];
  uris: string[];
}

/** A client of the official SDK whose every request meets the next of the replicas. */
async function roundRobin(
  stage: Stage,
  replicas: readonly TestGateway[],
  key: string,
  mode: "legacy" | { pin: string },
): Promise<Heard> {
  let turn = 0;
  const client = stage.keep(new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } }));
  const heard: Heard = { client, methods: [], uris: [] };
  for (const list of ["tools", "prompts", "resources"] as const)
    client.setNotificationHandler(`notifications/${list}/list_changed`, ({ method }) => {
      heard.methods.push(method);
    });
  client.setNotificationHandler("notifications/resources/updated", ({ params }) => {
    heard.uris.push(params.uri);
  });
  const transport = new StreamableHTTPClientTransport(new URL(`${replicas[0]!.baseUrl}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${key}` } },
    fetch: (input, init) => {
      turn += 1;
      const url = new URL(String(input));
      return fetch(new URL(url.pathname, replicas[turn % replicas.length]!.baseUrl), init);
    },
  });
  await client.connect(transport);
  if (mode !== "legacy") {
    const filter = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
    await client.listen({ ...filter, resourceSubscriptions: [FILE] });
  } else {
    // Whether the SDK's stream stands is not told; the upstream hears of a subscription when it does.
    await client.subscribeResource({ uri: FILE });
  }
  return heard;
}

/** A key for an upstream whose lists are read and whose changes count at once. */
async function offered(admin: Management, peer: TellingUpstream): Promise<{ id: string; value: string }> {
  const definition = { name: "telling", connection_string: peer.url, auth_type: "none", tool_pins: "accept" };
  const { mcp_client_id: id } = await admin.createUpstream(definition);
  await admin.expect(200, "POST", `/api/mcp/client/${id}/refresh-tools`);
  return await admin.createKey("Anna", [id]);
}

/** What a client without a session is shown at one replica. */
async function toolsAt(baseUrl: string, key: string): Promise<unknown[]> {
  return (await readJson(await post(baseUrl, key, { method: "tools/list" }))).result.tools;
}

const modes = [
  ["2025-11-25", "legacy"],
  ["2026-07-28", { pin: "2026-07-28" }],
] as const;

journeys(
  "changes at three replicas",
  (stage) => {
    const start = async () => {
      const peer = stage.keep(await TellingUpstream.start("modern"));
      const first = await stage.gateway([new URL(peer.url).host]);
      const replicas = [first, await stage.replica(first), await stage.replica(first)];
      return { peer, replicas, admin: new Management(first.baseUrl, first.adminToken) };
    };

    test.each(modes)(
      "reach a %s client whatever replica it meets, and stop with its key",
      async (_, mode) => {
        const { peer, replicas, admin } = await start();
        const { id, value: key } = await offered(admin, peer);
        for (const { baseUrl } of replicas)
          await eventually(
            "the replica knows the upstream",
            async () => (await toolsAt(baseUrl, key)).length > 0,
          );
        const { client, methods, uris } = await roundRobin(stage, replicas, key, mode);
        await eventually("it is listened to", () => peer.isFollowed(FILE) && peer.isWatched("tools"));
        peer.updated(FILE);
        await eventually("the update arrives", () => uris.includes(FILE));
        peer.peer.tools = [{ name: "echo" }, { name: "more" }];
        peer.changed("tools");
        await eventually("the change arrives", () => methods.includes("notifications/tools/list_changed"));
        expect((await client.listTools()).tools.map(({ name }) => name)).toEqual([
          "telling-echo",
          "telling-more",
        ]);
        await admin.expect(200, "PUT", `/api/governance/virtual-keys/${id}`, { is_active: false });
        await eventually("the upstream is left alone", () => peer.streams.size === 0, AT_MOST_MS + 500);
      },
    );

    test("TK-20 a revoked grant ends its streams at another replica within a second", async () => {
      const { gateway, person, admin } = await stage.household();
      const replica = await stage.replica(gateway);
      const { oauth } = await stage.signIn(gateway, person);
      const token = oauth.saved?.access_token ?? "";
      const streams = [await listening(replica.baseUrl, token), await standing(replica.baseUrl, token)];
      const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
      expect(sessions).toHaveLength(1);
      await admin.expect(204, "DELETE", `/api/oauth2/sessions/${sessions[0].id}`);
      const revoked = performance.now();
      const [last, nothing] = await Promise.all(streams.map((events) => events.rest()));
      expect(performance.now() - revoked).toBeLessThan(AT_MOST_MS);
      expect(last?.at(-1)).toMatchObject({ id: 1, result: { resultType: "complete" } });
      expect(nothing).toEqual([]);
    });
  },
  ["postgres"],
);
