import { sql } from "kysely";
import { expect, test } from "vitest";
import { type Database, openDatabase } from "../../src/db/index.ts";
import { watchedLog } from "../support/leavings.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { linkOf, openWithBearer, statusFor, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { type Household, journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const KEYS = "/api/governance/virtual-keys";

/** A row of contract section 2's reconciliation paragraph. */
interface Row {
  cause: string;
  /** Before the credential is connected. */
  prepare?(at: Household): Promise<unknown>;
  /** The change, as an administrator makes it: method, path, body. */
  change(at: Household): [method: string, path: string, body?: unknown];
  /** What becomes of the credential. */
  becomes: "orphaned" | "gone" | "kept" | "needs_reauth";
  /** What a callback gets that was under way at the provider. */
  callback: number;
  /** Takes the change back; afterwards everything works again without the person. */
  back?(at: Household): [method: string, path: string, body?: unknown];
}

const configs = (id: string, tools: string[]) => ({
  mcp_configs: [{ mcp_client_id: id, tools_to_execute: tools }],
});
const sharing = ({ admin, upstreamId }: Household) =>
  admin.expect(200, "PUT", `/api/mcp/client/${upstreamId}`, { allow_on_all_virtual_keys: true });
const key = ({ key: { id } }: Household) => `${KEYS}/${id}`;
const upstream = ({ upstreamId }: Household) => `/api/mcp/client/${upstreamId}`;

const rows: Row[] = [
  {
    cause: "a key's own row withdrawn",
    change: (at) => ["PUT", key(at), { mcp_configs: [] }],
    becomes: "orphaned",
    callback: 410,
    back: (at) => ["PUT", key(at), configs(at.upstreamId, ["*"])],
  },
  {
    cause: "vk_configs changed through the upstream",
    change: (at) => ["PUT", upstream(at), { vk_configs: [] }],
    becomes: "orphaned",
    callback: 410,
    back: (at) => [
      "PUT",
      upstream(at),
      { vk_configs: [{ virtual_key_id: at.key.id, tools_to_execute: ["*"] }] },
    ],
  },
  {
    cause: "an explicit row that narrows what is allowed on all keys",
    prepare: sharing,
    change: (at) => ["PUT", key(at), configs(at.upstreamId, [])],
    becomes: "orphaned",
    callback: 410,
    back: (at) => ["PUT", key(at), { mcp_configs: [] }],
  },
  {
    cause: "allow_on_all_virtual_keys withdrawn",
    prepare: async (at) => {
      await sharing(at);
      await at.admin.expect(200, "PUT", key(at), { mcp_configs: [] });
    },
    change: (at) => ["PUT", upstream(at), { allow_on_all_virtual_keys: false }],
    becomes: "orphaned",
    callback: 410,
    back: (at) => ["PUT", upstream(at), { allow_on_all_virtual_keys: true }],
  },
  {
    cause: "allow_on_all_virtual_keys withdrawn and an own row given, in one change",
    prepare: async (at) => {
      await sharing(at);
      await at.admin.expect(200, "PUT", key(at), { mcp_configs: [] });
    },
    change: (at) => [
      "PUT",
      upstream(at),
      {
        allow_on_all_virtual_keys: false,
        vk_configs: [{ virtual_key_id: at.key.id, tools_to_execute: ["*"] }],
      },
    ],
    becomes: "kept",
    callback: 200,
  },
  {
    cause: "a key switched off",
    change: (at) => ["PUT", key(at), { is_active: false }],
    becomes: "kept",
    callback: 403,
    back: (at) => ["PUT", key(at), { is_active: true }],
  },
  {
    cause: "an upstream disabled",
    change: (at) => ["PUT", upstream(at), { disabled: true }],
    becomes: "kept",
    callback: 409,
    back: (at) => ["PUT", upstream(at), { disabled: false }],
  },
  {
    cause: "the OAuth configuration changed",
    change: (at) => ["PUT", upstream(at), { oauth_config: { redirect: "shared" } }],
    becomes: "needs_reauth",
    callback: 410,
  },
  { cause: "a key deleted", change: (at) => ["DELETE", key(at)], becomes: "gone", callback: 410 },
  { cause: "an upstream deleted", change: (at) => ["DELETE", upstream(at)], becomes: "gone", callback: 410 },
];

journeys("reconciliation", (stage) => {
  test.each(rows)("ID-14 ID-23 ID-26 ID-28 $cause", async (row) => {
    const at = await stage.household();
    await row.prepare?.(at);
    const { admin, gateway, guarded, person } = at;
    const { provider } = guarded;
    const database = await openBeside(stage, gateway);
    const grant = await stage.signIn(gateway, person);
    assertPage(await person.connect(linkOf(await grant.client.callTool(whoami), "protected")));
    expect(textOf(await grant.client.callTool(whoami))).toBe("alice");
    const before = await admin.onlySession({ kind: "token" });

    if (row.becomes !== "kept") {
      const whole = await everything(database);
      await breakCredentials(database, stage.kind);
      expect((await admin.send(...row.change(at))).status).toBe(500);
      await mendCredentials(database, stage.kind);
      expect(await everything(database)).toEqual(whole);
    }

    if (row.back) {
      expect((await admin.send(...row.change(at))).status).toBeLessThan(300);
      const between = row.becomes === "kept" ? "active" : row.becomes;
      expect(await admin.onlySession({ kind: "token" })).toMatchObject({ id: before.id, status: between });
      guarded.upstream.forgetRequests();
      await refusedCall(gateway, at.key.value);
      expect(guarded.upstream.calls("tools/call")).toEqual([]);
      expect((await admin.send(...row.back(at))).status).toBeLessThan(300);
      expect(await admin.onlySession({ kind: "token" })).toMatchObject({ id: before.id, status: "active" });
      const again = stage.keep(await openWithBearer(gateway.baseUrl, at.key.value));
      expect(textOf(await again.callTool(whoami))).toBe("alice");
    }

    const callback = await leaveForProvider(at, before.id);
    provider.forgetRequests();
    const held = provider.holdNextToken("after");
    const coming = person.browser.get(callback);
    await held.arrived;
    expect((await admin.send(...row.change(at))).status).toBeLessThan(300);
    held.release();
    expect((await coming).status).toBe(row.callback);

    const after = await admin.sessions({ kind: "token" });
    const status = row.becomes === "kept" ? "active" : row.becomes;
    const expected = row.becomes === "gone" ? [] : [[before.id, status]];
    expect(after.map((one) => [one.id, one.status])).toEqual(expected);
    if (row.callback === 200) return;
    if (row.becomes !== "kept") expect(await openFlows(database)).toEqual([]);
    guarded.upstream.forgetRequests();
    await refusedCall(gateway, at.key.value);
    expect(guarded.upstream.calls("tools/call")).toEqual([]);
    // What the provider handed out meanwhile goes back; with the row's own tokens when the row is gone.
    await gateway.runJobs();
    await eventually("the audit trail says what became of every token", async () => {
      const lines = await database.db
        .selectFrom("audit")
        .select("event")
        .where("event", "like", "credential.provider_%")
        .execute();
      return lines.length >= (row.becomes === "gone" ? 2 : 1);
    });
    if (row.becomes !== "needs_reauth") expect(provider.revocations.length).toBeGreaterThanOrEqual(2);
    const isKeyOut = row.cause === "a key deleted" || row.cause === "a key switched off";
    expect(await statusFor(gateway.baseUrl, grant.oauth.saved!.access_token)).toBe(isKeyOut ? 401 : 200);
  });

  test("ID-28 a key of a person: its rows give and take that person's access, and its end takes its grants", async () => {
    const at = await stage.household();
    const { admin, gateway, operator, upstreamId } = at;
    const database = await openBeside(stage, gateway);
    const { id: user_id } = await database.db.selectFrom("users").select("id").executeTakeFirstOrThrow();
    const { virtual_key: own } = await admin.expect(200, "POST", KEYS, {
      name: "own",
      user_id,
      ...configs(upstreamId, ["*"]),
    });
    const client = stage.keep(await openWithBearer(gateway.baseUrl, own.value));
    assertPage(await operator.connect(linkOf(await client.callTool(whoami), "protected")));
    const row = await admin.onlySession({ kind: "token" });
    expect(row).toMatchObject({ auth_mode: "user", status: "active" });
    const status = async () => (await admin.onlySession({ kind: "token" })).status;
    await admin.expect(200, "PUT", `${KEYS}/${own.id}`, { mcp_configs: [] });
    expect(await status()).toBe("orphaned");
    await admin.expect(200, "PUT", `${KEYS}/${own.id}`, configs(upstreamId, ["*"]));
    expect(await status()).toBe("active");
    expect((await client.callTool(whoami)).isError).not.toBe(true);
    await admin.expect(200, "PUT", `${KEYS}/${own.id}`, { is_active: false });
    expect(await status()).toBe("orphaned");
    await admin.expect(200, "PUT", `${KEYS}/${own.id}`, { is_active: true });
    await admin.expect(200, "DELETE", `${KEYS}/${own.id}`);
    expect(await admin.onlySession({ kind: "token" })).toMatchObject({ id: row.id, status: "orphaned" });
    expect(await statusFor(gateway.baseUrl, own.value)).toBe(401);
  });

  test("a connection_string changed in the file demands re-authentication; an entry that is gone keeps its rows", async () => {
    const { gateway, guarded, person, key } = await stage.household();
    const entry = (url: string) => ({
      name: "filed",
      connection_string: url,
      auth_type: "per_user_oauth" as const,
      tools_to_execute: ["*"],
      allow_on_all_virtual_keys: true,
    });
    const restart = async (from: TestGateway, urls: string[]) => {
      await from.close();
      return stage.open({
        ...gateway.options,
        configure: (config) => {
          config.upstreams = urls.map(entry);
        },
      });
    };
    const own = new Management(gateway.baseUrl, key.value);
    const filed = async () =>
      (await own.sessions({ kind: "token" })).filter((row) => row.mcp_client?.name === "filed");
    let running = await restart(gateway, [guarded.upstream.url]);
    const database = await openBeside(stage, running);
    const { id } = await database.db
      .selectFrom("upstreams")
      .select("id")
      .where("name", "=", "filed")
      .executeTakeFirstOrThrow();
    const api = running.baseUrl;
    const now = Date.now();
    await database.db
      .insertInto("flows")
      .values({
        ...{ id: "flow_filed", kind: "connect", owner_mode: "vk", owner_id: key.id, upstream_id: id },
        ...{ account: "", handle_hash: null, browser_hash: null, parent_id: null, sealed: null },
        ...{ data_json: '{"return_to":null}', created_at: now, expires_at: now + 600_000 },
        ...{ ended_at: null, outcome: null },
      })
      .execute();
    assertPage(await person.connect(`${api}/workspace/mcp-sessions/auth?flow=flow_filed`));
    const [row] = await filed();
    expect(row).toMatchObject({ status: "active" });
    running = await restart(running, []);
    expect(await filed()).toEqual([expect.objectContaining({ id: row!.id, status: "active" })]);
    running = await restart(running, [`${guarded.upstream.url}?other=1`]);
    expect(await filed()).toEqual([expect.objectContaining({ id: row!.id, status: "needs_reauth" })]);
  });
});

/** A second handle on the gateway's database. */
async function openBeside(stage: Stage, gateway: TestGateway): Promise<Database> {
  return stage.keep(await openDatabase(gateway.options.databaseUrl!, watchedLog()));
}

/** Re-authenticates up to the provider's answer, which is not yet delivered. */
async function leaveForProvider({ gateway, key, person }: Household, sessionId: string): Promise<URL> {
  const own = new Management(gateway.baseUrl, key.value);
  const { authorize_url } = await own.expect(200, "POST", `/api/mcp/sessions/${sessionId}/reauth`);
  await person.browser.get(authorize_url);
  const page = await person.browser.submitForm(
    (form) => "vk" in form.fields,
    { vk: key.value },
    { stopAt: `${gateway.baseUrl}/api/oauth/callback` },
  );
  return page.stoppedAt!;
}

/** A call with the key, however it is refused: 401, no such tool, a link, or a plain refusal. */
async function refusedCall(gateway: TestGateway, value: string): Promise<void> {
  const client = await openWithBearer(gateway.baseUrl, value).catch(() => undefined);
  if (!client) return;
  const result = await client.callTool(whoami).catch(() => ({ isError: true }));
  await client.close();
  expect(result.isError).toBe(true);
}

/** Every change of a credential fails, as when the disk is full. */
async function breakCredentials({ db }: Database, kind: Stage["kind"]): Promise<void> {
  if (kind === "postgres") {
    await sql`create function full_disk() returns trigger language plpgsql as 'begin raise exception ''disk full''; end'`.execute(
      db,
    );
    await sql`create trigger full_disk before update or delete on credentials for each row execute function full_disk()`.execute(
      db,
    );
    return;
  }
  for (const verb of ["update", "delete"])
    await sql`${sql.raw(`create trigger full_disk_${verb} before ${verb} on credentials begin select raise(abort, 'disk full'); end`)}`.execute(
      db,
    );
}

async function mendCredentials({ db }: Database, kind: Stage["kind"]): Promise<void> {
  if (kind === "postgres") await sql`drop function full_disk() cascade`.execute(db);
  else for (const verb of ["update", "delete"]) await sql.raw(`drop trigger full_disk_${verb}`).execute(db);
}

/** What a failed change must leave as it was. */
async function everything({ db }: Database): Promise<unknown> {
  const upstreams = await db
    .selectFrom("upstreams")
    .select(["id", "disabled", "allow_on_all_virtual_keys", "definition_json", "generation"])
    .execute();
  const configs = await db
    .selectFrom("oauth_configs")
    .select(["id", "redirect_uri", "issuer", "updated_at"])
    .execute();
  const keys = await db.selectFrom("virtual_keys").selectAll().execute();
  const rules = await db.selectFrom("virtual_key_upstreams").selectAll().execute();
  const grants = await db.selectFrom("grants").select(["id", "status"]).execute();
  const credentials = await db
    .selectFrom("credentials")
    .select(["id", "status", "orphaned", "generation"])
    .orderBy("id")
    .execute();
  const outbox = await db.selectFrom("outbox").select("id").execute();
  const flows = await db
    .selectFrom("flows")
    .select(["id", "ended_at"])
    .where("kind", "=", "connect")
    .orderBy("id")
    .execute();
  return { upstreams, configs, keys, rules, grants, credentials, outbox, flows };
}

function openFlows({ db }: Database) {
  return db
    .selectFrom("flows")
    .select(["id", "kind"])
    .where("kind", "in", ["connect", "state"])
    .where("ended_at", "is", null)
    .execute();
}
