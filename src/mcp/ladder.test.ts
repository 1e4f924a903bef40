import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import type { Upstream } from "../upstreams/index.ts";
import { BASE, type Bench, echo, type Json, META, openBench } from "./endpoint.suite.ts";

let peer: ScriptedUpstream;
let bench: Bench;
let upstream: Upstream;
let key: Awaited<ReturnType<Bench["key"]>>;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo] });
  bench = await openBench(peer);
  peer.requireBearer = { token: "at-1" };
  upstream = await bench.upstream(peer, { auth_type: "per_user_oauth" });
  key = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

const LINK = new RegExp(`${BASE.replaceAll(".", "\\.")}/workspace/mcp-sessions/auth\\?flow=[\\w-]+`);
const params = { name: "acme-echo", arguments: { a: 1 } };
const both = { elicitation: { form: {}, url: {} } };

interface Profile {
  era: "2026-07-28" | "2025-11-25" | "2025-06-18" | "sessionless";
  client?: { name: string; version: string };
  capabilities?: Json;
}

/** One simulated client: how it asks, and what its person or its model gets to read. */
class SimulatedClient {
  readonly #profile: Profile;
  #session: Record<string, string> = {};

  constructor(profile: Profile) {
    this.#profile = profile;
  }

  async start(): Promise<this> {
    const { era, client, capabilities = {} } = this.#profile;
    if (era === "2026-07-28" || era === "sessionless") return this;
    this.#session = await bench.session(key.value, capabilities, era, client);
    return this;
  }

  async ask(method: string, asked: Json = {}): Promise<Json> {
    const { era, client, capabilities } = this.#profile;
    if (era !== "2026-07-28") return (await bench.legacy(key.value, method, asked, this.#session)).body;
    const _meta = client ? { [`${META}clientInfo`]: client } : {};
    return (await bench.modern(key.value, method, { ...asked, _meta }, {}, capabilities)).body;
  }

  async names(): Promise<string[]> {
    return (await this.ask("tools/list")).result.tools.map((tool: Json) => tool.name);
  }
}

const start = (profile: Profile) => new SimulatedClient(profile).start();

type Rung = "input_required" | "url_error" | "text";

/** The rung an answer stands on, and the link that reaches output or prompt there. */
function rungOf({ result, error }: Json): { rung: Rung; link: string } {
  if (error?.code === -32042) return { rung: "url_error", link: error.data.elicitations[0].url };
  if (result?.resultType === "input_required")
    return { rung: "input_required", link: result.inputRequests.auth.params.url };
  expect(result?.isError).toBe(true);
  return { rung: "text", link: LINK.exec(result.content[0].text)![0] };
}

const claudeCode = (version: string) => ({ name: "claude-code", version });

const profiles: [string, Profile, Rung, boolean][] = [
  ["2026 era, URL mode", { era: "2026-07-28", capabilities: both }, "input_required", false],
  ["2026 era, forms only", { era: "2026-07-28", capabilities: { elicitation: {} } }, "text", true],
  ["2026 era, nothing", { era: "2026-07-28", capabilities: {} }, "text", true],
  [
    "2026 era, declares and drops",
    { era: "2026-07-28", client: claudeCode("2.1.87"), capabilities: both },
    "text",
    true,
  ],
  ["2025-11-25, URL mode", { era: "2025-11-25", capabilities: both }, "url_error", false],
  [
    "2025-11-25, known to work",
    { era: "2025-11-25", client: { name: "Visual Studio Code", version: "1.110.0" }, capabilities: both },
    "url_error",
    false,
  ],
  [
    "2025-11-25, declares and drops",
    { era: "2025-11-25", client: claudeCode("2.1.87"), capabilities: both },
    "text",
    true,
  ],
  [
    "2025-11-25, a dropping client of a version nobody knows",
    { era: "2025-11-25", client: claudeCode("nightly"), capabilities: both },
    "text",
    true,
  ],
  [
    "2025-11-25, declares again in a newer version, and hides errors",
    { era: "2025-11-25", client: claudeCode("3.0.0"), capabilities: both },
    "url_error",
    true,
  ],
  [
    "2025-11-25, forms only",
    { era: "2025-11-25", client: claudeCode("2.1.261"), capabilities: { elicitation: {} } },
    "text",
    true,
  ],
  ["2025-11-25, nothing", { era: "2025-11-25", capabilities: {} }, "text", true],
  ["2025-06-18, before there was URL mode", { era: "2025-06-18", capabilities: both }, "text", true],
  ["no session at all", { era: "sessionless" }, "text", true],
];

describe.each(profiles)("%s", (_name, profile, rung, hasTool) => {
  test(`the link arrives with the first call (${rung}); the call succeeds after connecting`, async () => {
    const client = await start(profile);
    const given = rungOf(await client.ask("tools/call", params));
    expect(given).toEqual({ rung, link: expect.stringMatching(LINK) });
    // Parallel calls of whatever client share the tab that is open.
    expect(rungOf(await client.ask("tools/call", params)).link).toBe(given.link);
    expect(peer.requests).toHaveLength(0);
    await bench.connected(key.owner, upstream);
    expect((await client.ask("tools/call", params)).result.content[0].text).toBe('{"a":1}');
  });

  test(`the list keeps the tools, and ${hasTool ? "has" : "needs no"} connect_acme`, async () => {
    const client = await start(profile);
    expect(await client.names()).toEqual(hasTool ? ["acme-echo", "connect_acme"] : ["acme-echo"]);
    await bench.connected(key.owner, upstream);
    expect(await client.names()).toEqual(["acme-echo"]);
  });
});

test("a dropping client, whatever the revision: the link as text and a connect tool, no elicitation", async () => {
  const eras = ["2026-07-28", "2025-11-25"] as const;
  for (const name of ["claude-code", "github-copilot-developer"]) {
    for (const era of eras) {
      const client = await start({ era, client: { name, version: "2.1.0" }, capabilities: both });
      const answer = await client.ask("tools/call", params);
      expect(rungOf(answer).rung).toBe("text");
      expect(JSON.stringify(answer)).not.toMatch(/elicitation|input_required/);
      expect(await client.names()).toContain("connect_acme");
    }
  }
});

describe("connect_{upstream}", () => {
  const client = () => start({ era: "2025-11-25" });

  test("gives the link as an ordinary result, the same one the tools give", async () => {
    const asked = (await (await client()).ask("tools/call", { name: "connect_acme" })).result;
    const required = asked._meta.mcp_auth_required;
    expect(asked.isError).toBeUndefined();
    expect(asked.content).toEqual([{ type: "text", text: required.message }]);
    expect(required).toMatchObject({ kind: "oauth", mcp_client_name: "acme", also_required: [] });
    expect(required.authorize_url).toMatch(LINK);
    expect(rungOf(await (await client()).ask("tools/call", params)).link).toBe(required.authorize_url);
    expect(peer.requests).toHaveLength(0);
  });

  test("says so when the account is there already", async () => {
    await bench.connected(key.owner, upstream);
    const { result } = await (await client()).ask("tools/call", { name: "connect_acme" });
    expect(result.content[0].text).toBe("acme is already connected. Its tools can be called.");
    expect(JSON.stringify(result)).not.toMatch(/mcp_auth_required|https?:/);
  });

  test("is not there for an orphaned binding, and refuses without a link", async () => {
    await bench.connected(key.owner, upstream);
    await bench.database.transaction((tx) => bench.vault.setAccess(tx, key.owner, new Set()));
    expect(await (await client()).names()).toEqual(["acme-echo"]);
    const { result } = await (await client()).ask("tools/call", { name: "connect_acme" });
    expect(result.isError).toBe(true);
    expect(JSON.stringify(result)).not.toMatch(/https?:|mcp_auth_required/);
  });

  test("ID-30 is unknown for upstreams the caller may not use, or that take no accounts", async () => {
    await bench.upstream(peer, { name: "foreign", auth_type: "per_user_oauth" });
    const shared = await bench.upstream(peer, { name: "shared" });
    await bench.keys.update(key.id, {
      configs: [upstream, shared].map(({ id }) => ({ upstreamId: id, tools: ["*"] })),
    } as never);
    expect(await (await client()).names()).toEqual(["acme-echo", "connect_acme", "shared-echo"]);
    for (const name of ["connect_foreign", "connect_shared", "connect_", "connect_none"]) {
      const { error } = await (await client()).ask("tools/call", { name });
      expect(error).toMatchObject({ code: -32602, message: expect.stringMatching(/^Unknown tool/) });
    }
  });

  test("an upstream whose tools nobody has seen has it for every client; filters hide it", async () => {
    const fresh = await bench.upstream(peer, { name: "fresh", auth_type: "per_user_oauth" }, []);
    const { value } = await bench.key("f", [{ upstreamId: fresh.id, tools: ["*"] }]);
    const names = async (headers: Record<string, string>) =>
      (await bench.modern(value, "tools/list", {}, headers, both)).body.result.tools.map(
        (tool: Json) => tool.name,
      );
    expect(await names({})).toEqual(["connect_fresh"]);
    expect(await names({ "x-bf-mcp-include-clients": "fresh" })).toEqual(["connect_fresh"]);
    expect(await names({ "x-bf-mcp-include-clients": "acme" })).toEqual([]);
    expect(await names({ "x-bf-mcp-include-tools": "fresh-*" })).toEqual(["connect_fresh"]);
    expect(await names({ "x-bf-mcp-include-tools": "fresh-echo" })).toEqual([]);
  });

  test("MC-18 no upstream can take its name, whatever it calls itself and its tools", async () => {
    const tools = [{ name: "acme" }, { name: "_acme" }, { name: "connect_acme" }];
    const odd = await bench.upstream(peer, { name: "connect" }, tools);
    await bench.keys.update(key.id, {
      configs: [upstream, odd].map(({ id }) => ({ upstreamId: id, tools: ["*"] })),
    } as never);
    const listed = ["acme-echo", "connect-_acme", "connect-acme", "connect-connect_acme", "connect_acme"];
    expect(await (await client()).names()).toEqual(listed);
    const { result } = await (await client()).ask("tools/call", { name: "connect_acme" });
    expect(result._meta.mcp_auth_required.mcp_client_name).toBe("acme");
  });

  test("a list without the database is the list without connect tools", async () => {
    const session = await client();
    await session.names();
    await bench.database.close();
    expect(await session.names()).toEqual(["acme-echo"]);
  });
});

describe("a person at the page (2026-07-28)", () => {
  const call = (more: Json = {}) =>
    bench.modern(key.value, "tools/call", { ...params, ...more }, {}, both).then(({ body }) => body.result);
  const accepted = { inputResponses: { auth: { action: "accept" } } };

  test("is asked once: the client comes back by itself, some times, then the link is text", async () => {
    let { requestState, inputRequests } = await call();
    expect(inputRequests.auth.params.mode).toBe("url");
    let rounds = 0;
    let answer = await call({ requestState, ...accepted });
    while (answer.resultType === "input_required") {
      expect(answer.inputRequests).toBeUndefined();
      requestState = answer.requestState;
      rounds += 1;
      answer = await call({ requestState });
    }
    expect(rounds).toBe(6);
    expect(rungOf({ result: answer }).rung).toBe("text");
    expect(peer.requests).toHaveLength(0);
  });

  test("who connects while the call waits has its answer, not a question", async () => {
    bench.waitMs = 8_000;
    const { requestState } = await call();
    const waiting = call({ requestState, ...accepted });
    await bench.connected(key.owner, upstream);
    expect((await waiting).content[0].text).toBe('{"a":1}');
    expect(peer.calls("tools/call")).toHaveLength(1);
  });

  test("a client that goes away while it waits is let go", async () => {
    bench.waitMs = 60_000;
    const { requestState } = await call();
    const gone = new AbortController();
    const waiting = bench.modern(
      key.value,
      "tools/call",
      { ...params, requestState, ...accepted },
      {},
      both,
      gone.signal,
    );
    gone.abort();
    await waiting.catch(() => {});
  });

  test("an answer that says nothing is asked again; a no is text", async () => {
    const { requestState } = await call();
    expect((await call({ requestState })).inputRequests.auth.params.url).toMatch(LINK);
    const no = { inputResponses: { auth: { action: "cancel" } } };
    expect(rungOf({ result: await call({ requestState, ...no }) }).rung).toBe("text");
  });

  test("MC-31 fifty calls at once make one link", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => call()));
    expect(new Set(answers.map(({ inputRequests }) => inputRequests.auth.params.url)).size).toBe(1);
    const flows = await bench.database.db.selectFrom("flows").select("id").execute();
    expect(flows).toHaveLength(1);
  });
});
