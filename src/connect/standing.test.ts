import { afterEach, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function give(r: Rig, owner: Owner, upstream = r.upstream): Promise<string> {
  return r.database.transaction(async (tx) => {
    const secret = {
      kind: "oauth" as const,
      accessToken: new Hidden(`token-of-${owner.id}`),
      oauthConfigId: upstream.oauthConfigId!,
    };
    const stored = await r.vault.put(tx, { owner, upstreamId: upstream.id, account: "", secret });
    return stored!.id;
  });
}

async function left(r: Rig): Promise<string[]> {
  const rows = await r.database.db
    .selectFrom("credentials")
    .select(["owner_id", "upstream_id"])
    .orderBy("owner_id")
    .orderBy("upstream_id")
    .execute();
  return rows.map((row) => `${row.owner_id} ${row.upstream_id === r.upstream.id ? "calendar" : "mail"}`);
}

function openFlows(r: Rig) {
  return r.database.db
    .selectFrom("flows")
    .select(["owner_id", "kind"])
    .where("ended_at", "is", null)
    .execute();
}

onBothDatabases("all at once", (open) => {
  it("ID-28 ends all of a person, a key or an upstream, links included, and counts", async () => {
    const r = await rig(open, closing);
    const alice = (await r.person("alice")).owner;
    const key = await r.key("k");
    const revoke = async (body: unknown, bearer = adminToken) => {
      const response = await r.api("/api/mcp/sessions/revoke", { method: "POST", bearer, body });
      const answer = await readJson(response);
      return answer.revoked ?? `${response.status} ${answer.error.code}`;
    };
    const fill = async () => {
      for (const owner of [alice, key.owner]) {
        await give(r, owner);
        await give(r, owner, r.other);
        await r.connect.start(owner, r.upstream);
      }
      await give(r, { mode: "discovery", id: r.upstream.id });
    };
    await fill();
    expect(await revoke({ user_id: alice.id })).toBe(2);
    expect(await openFlows(r)).toEqual([{ owner_id: key.owner.id, kind: "connect" }]);
    expect(await revoke({ virtual_key_id: key.owner.id })).toBe(2);
    expect(await openFlows(r)).toEqual([]);
    await fill();
    expect((await r.vault.open(alice, r.upstream)).outcome).toBe("ready");
    expect(await revoke({ mcp_client_id: r.upstream.id })).toBe(3);
    expect(await left(r)).toEqual([`${alice.id} mail`, `${key.owner.id} mail`]);
    expect((await r.vault.open(alice, r.upstream)).outcome).toBe("needs_user");
    expect(await openFlows(r)).toEqual([]);
    expect(await revoke({ user_id: "user_nobody" })).toBe(0);
    // One's own without an administrator, and nobody else's, whether it exists or not.
    const other = await r.key("other");
    for (const body of [
      { virtual_key_id: key.owner.id },
      { virtual_key_id: "vk_none" },
      { user_id: alice.id },
      { mcp_client_id: r.other.id },
    ])
      expect(await revoke(body, other.value)).toBe("403 administrator_required");
    expect(await revoke({ virtual_key_id: key.owner.id }, key.value)).toBe(1);
    for (const body of [
      {},
      { user_id: alice.id, mcp_client_id: r.other.id },
      { user_id: "" },
      { all: true },
      { user_id: "a\0" },
    ])
      expect(await revoke(body)).toBe("400 invalid_request");
    expect(await left(r)).toEqual([`${alice.id} mail`]);
    const lines = await r.database.db
      .selectFrom("audit")
      .select(["owner_id", "upstream_id", "detail_json"])
      .where("event", "=", "session.all_revoked")
      .orderBy("at")
      .execute();
    expect(lines).toContainEqual({
      owner_id: null,
      upstream_id: r.upstream.id,
      detail_json: '{"revoked":3}',
    });
    await r.outbox.run(r.database);
    expect(r.provider.revocations.length).toBe(0);
  });

  it("all or nothing: what fails half way has ended nothing", async () => {
    const r = await rig(open, closing);
    const key = await r.key("k");
    await give(r, key.owner);
    await give(r, key.owner, r.other);
    await r.database.db.schema.alterTable("audit").renameTo("audit_away").execute();
    const body = { virtual_key_id: key.owner.id };
    const failed = await r.api("/api/mcp/sessions/revoke", { method: "POST", bearer: adminToken, body });
    expect(failed.status).toBe(500);
    await r.database.db.schema.alterTable("audit_away").renameTo("audit").execute();
    expect(await left(r)).toHaveLength(2);
  });
});

onBothDatabases("switched off", (open) => {
  for (const what of ["key", "expired key", "user", "upstream"] as const) {
    it(`ID-14 a link of a ${what} leads nowhere while it is off, stores nothing, and works again after`, async () => {
      const r = await rig(open, closing);
      const person = await r.person("alice");
      const key = await r.key("k");
      const owner = what === "user" ? person.owner : key.owner;
      const turn = async (isOn: boolean) => {
        if (what === "key") await r.keys.update(owner.id, { isActive: isOn });
        if (what === "expired key") await r.keys.update(owner.id, { expiresAt: isOn ? null : 1 });
        if (what === "upstream") await r.upstreams.update(r.upstream.id, { disabled: !isOn });
        if (what === "user")
          await r.database.db
            .updateTable("users")
            .set({ is_active: isOn ? 1 : 0 })
            .execute();
      };
      const id = await give(r, owner);
      const browser = what === "user" ? person.browser : r.browser();
      const fields: Record<string, string> = what === "user" ? {} : { vk: key.value };
      const link = await r.connect.start(owner, r.upstream);
      const leave = async () => {
        await browser.get(link.url);
        const page = await browser.submitForm(/mcp-sessions\/auth/, fields, {
          stopAt: `${r.base}/api/oauth/callback`,
        });
        return page.stoppedAt!;
      };
      const generation = () => r.vault.generationOf(r.database.db, owner, r.upstream.id);

      // Off before the callback comes: nothing is claimed, and it serves once it is on again.
      const callback = await leave();
      await turn(false);
      const refused = await browser.get(callback);
      expect(refused.status).toBe(what === "upstream" ? 409 : 403);
      expect((await openFlows(r)).map((flow) => flow.kind).sort()).toEqual(["connect", "state"]);
      expect(r.provider.tokenCalls()).toBe(0);
      await turn(true);
      expect((await browser.get(callback)).html).toContain("Connected");
      expect(await generation()).toBe(2);

      // Off while the provider answers: nothing is stored, the fresh token goes back, the link stays.
      const again = await r.connect.start(owner, r.upstream);
      link.url = again.url;
      const late = await leave();
      const held = r.provider.holdNextToken("after");
      const coming = browser.get(late);
      await held.arrived;
      await turn(false);
      held.release();
      expect((await coming).status).toBe(what === "upstream" ? 409 : 403);
      expect(await generation()).toBe(2);
      await r.outbox.run(r.database);
      expect(r.provider.revocations.length).toBe(2);
      const rows = await r.database.db.selectFrom("credentials").select(["id", "orphaned"]).execute();
      expect(rows).toEqual([{ id, orphaned: 0 }]);
      await turn(true);
      const third = await leave();
      expect((await browser.get(third)).html).toContain("Connected");
    });
  }
});
