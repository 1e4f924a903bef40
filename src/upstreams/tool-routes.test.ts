import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Audit } from "../audit/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import type { Principal } from "../identity/index.ts";
import { type AdministrationParts, upstreamRoutes } from "./index.ts";
import { openMail, search, sendMail } from "./tool-pins.suite.ts";
import { clientRow } from "./view.ts";

onBothDatabases("held definitions over the API", (open) => {
  async function start() {
    const mail = await openMail((await open()).database);
    const caller: Principal = { kind: "admin_token" };
    const audit = new Audit(mail);
    const parts = { ...mail, audit, keyConfigs: { read: async () => new Map() } };
    const app = mount(upstreamRoutes(parts as unknown as AdministrationParts), {
      world: mail.world,
      settings: mail.settings,
      limits: new RateLimits(mail.world),
      authenticate: async () => caller,
    });
    const call = async (method: string, path: string, body?: unknown) => {
      const response = await app.request(`http://localhost:8080/api/mcp/client/${mail.id}${path}`, {
        method,
        headers: { host: "localhost:8080", "content-type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      return { status: response.status, body: await readJson(response) };
    };
    const audited = async () =>
      (await mail.database.db.selectFrom("audit").selectAll().execute()).map((line) => ({
        event: line.event,
        actor: line.actor,
        upstream: line.upstream_id,
        detail: JSON.parse(line.detail_json!) as Record<string, unknown>,
      }));
    return { ...mail, call, audited };
  }

  it("lists what changed, with hashes and differences, a page at a time", async () => {
    const { read, call } = await start();
    expect((await call("GET", "/tools/changes")).body).toMatchObject({
      changes: [],
      total_count: 0,
      policy: "keep",
      held_tools: 0,
    });
    await read({ ...sendMail, description: "Sends\u200b it." }, { ...search, title: "S" }, { name: "late" });
    const { status, body } = await call("GET", "/tools/changes");
    expect(status).toBe(200);
    expect(body).toMatchObject({ count: 3, total_count: 3, limit: 25, offset: 0, held_tools: 3 });
    expect(body.held_hash).toMatch(/^[0-9a-f]{64}$/);
    expect(body.changes.map(({ tool, kind }: Record<string, string>) => [tool, kind])).toEqual([
      ["late", "new"],
      ["search", "changed"],
      ["send_mail", "changed"],
    ]);
    expect(body.changes[2]).toMatchObject({
      status: "held",
      offered: true,
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      approved_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      first_seen_at: expect.stringMatching(/Z$/),
      fields: [{ field: "description", before: expect.any(String), after: '"Sends\\u200b it."' }],
      diff: expect.stringContaining('+  "description": "Sends\\u200b it."'),
      truncated: false,
    });
    const second = await call("GET", "/tools/changes?limit=1&offset=1");
    expect(second.body.changes.map(({ tool }: Record<string, string>) => tool)).toEqual(["search"]);
    expect((await call("GET", "/tools/changes?status=rejected")).body.total_count).toBe(0);
    expect((await call("GET", "/tools/changes?status=approved")).status).toBe(400);
  });

  it("approves by hash, and all by the hash of the list; the audit has old and new and who", async () => {
    const { read, call, tools, audited, id } = await start();
    const changed = { ...sendMail, title: "Changed" };
    await read(changed, { ...search, title: "S" }, { name: "late" });
    const list = (await call("GET", "/tools/changes")).body;
    const [late, , mail] = list.changes;
    const approved = await call("POST", "/tools/approve", { hashes: [mail.hash] });
    expect(approved).toMatchObject({
      status: 200,
      body: { status: "success", mcp_client_id: id, decided: 1, held_tools: 2 },
    });
    expect(tools()).toEqual([search, changed]);
    const stale = await call("POST", "/tools/approve", { all: list.held_hash });
    expect(stale).toMatchObject({ status: 409, body: { error: { code: "tool_changes_outdated" } } });
    const now = (await call("GET", "/tools/changes")).body;
    const all = await call("POST", "/tools/approve", { all: now.held_hash });
    expect(all.body).toMatchObject({ decided: 2, held_tools: 0 });
    expect(tools().map(({ name }) => name)).toEqual(["late", "search", "send_mail"]);
    const detail = (changes: object[]) => ({ name: "mail", count: changes.length, changes });
    expect(await audited()).toEqual([
      {
        event: "tool.change_approved",
        actor: "admin_token",
        upstream: id,
        detail: detail([{ tool: "send_mail", from: mail.approved_hash, to: mail.hash }]),
      },
      {
        event: "tool.change_approved",
        actor: "admin_token",
        upstream: id,
        detail: expect.objectContaining({
          count: 2,
          changes: expect.arrayContaining([{ tool: "late", to: late.hash }]),
        }),
      },
    ]);
    expect((await call("POST", "/tools/approve", { hashes: [mail.hash] })).status).toBe(409);
  });

  it("turns down, and says so in the list", async () => {
    const { read, call, tools, audited } = await start();
    await read({ ...sendMail, title: "Changed" }, search);
    const { held_hash } = (await call("GET", "/tools/changes")).body;
    const rejected = await call("POST", "/tools/reject", { all: held_hash });
    expect(rejected.body).toMatchObject({ decided: 1, held_tools: 0 });
    expect(tools()).toEqual([search, sendMail]);
    const { changes } = (await call("GET", "/tools/changes")).body;
    expect(changes).toMatchObject([
      { status: "rejected", decided_by: "admin_token", decided_at: expect.stringMatching(/Z$/) },
    ]);
    expect((await audited()).map(({ event }) => event)).toEqual(["tool.change_rejected"]);
  });

  it("refuses what says nothing, too much or what is not a hash", async () => {
    const { call } = await start();
    const hash = "0".repeat(64);
    for (const body of [
      {},
      { hashes: [] },
      { hashes: ["abc"] },
      { hashes: [hash], all: hash },
      { all: "all" },
    ])
      expect((await call("POST", "/tools/approve", body)).status, JSON.stringify(body)).toBe(400);
  });

  it("the list of upstreams counts what waits", async () => {
    const { read, upstreams, id } = await start();
    await read({ ...sendMail, title: "Changed" }, search);
    expect(clientRow(upstreams.get(id), [])).toMatchObject({ held_tools: 1, config: { tool_pins: "keep" } });
  });
});
