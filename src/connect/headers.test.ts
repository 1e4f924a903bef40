import { afterEach, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner, Problem } from "../base/index.ts";
import { checkDefinition, type Upstream } from "../upstreams/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const names = ["X-Api-Key", "X-Region"];
const values = { "x-api-key": "MARK-1", "X-Region": "eu" };

function define(r: Rig, name = "tickets"): Promise<Upstream> {
  const definition = checkDefinition({
    name,
    connection_string: r.upstream.url.href,
    auth_type: "per_user_headers",
    per_user_header_keys: names,
    headers: { "X-Tenant": "acme" },
    allow_on_all_virtual_keys: true,
  });
  return r.upstreams.create(definition, "api");
}

const flowPath = (id: string) => `/api/mcp/per-user-headers/flows/${id}`;

async function put(r: Rig, flowId: string, headers: Record<string, string>, bearer: string) {
  const response = await r.api(flowPath(flowId), { method: "PUT", bearer, body: { headers } });
  const text = await response.text();
  expect(text).not.toContain("MARK");
  return { status: response.status, body: JSON.parse(text) };
}

async function read(r: Rig, path: string, bearer: string, method = "GET") {
  const response = await r.api(path, { method, bearer });
  return { status: response.status, body: response.status === 204 ? undefined : await readJson(response) };
}

/** What a call would carry, or why there is none. */
async function opened(r: Rig, owner: Owner, upstream: Upstream) {
  const answer = await r.vault.open(owner, upstream);
  if (answer.outcome !== "ready") return answer;
  const headers: Record<string, string> = {};
  answer.authorize(headers);
  return headers;
}

const stored = async (r: Rig) =>
  (await r.database.db.selectFrom("credentials").select("id").execute()).length;

onBothDatabases("header values", (open) => {
  it("UP-28 are verified once and then stored; whatever is wrong with them stores nothing and keeps the link", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const mine = await r.key("mine");
    const { flowId, url, kind } = await r.connect.start(mine.owner, upstream);
    expect({ kind, url }).toEqual({
      kind: "headers",
      url: `${r.base}/workspace/mcp-sessions/auth?flow=${flowId}&kind=headers`,
    });
    let verified = 0;
    r.verify.headers = async () => {
      verified += 1;
    };
    const fault = async (headers: Record<string, string>) => {
      const { status, body } = await put(r, flowId, headers, mine.value);
      return `${status} ${body.error.code} ${body.error.param}`;
    };
    expect(await fault({ "X-Api-Key": "MARK" })).toBe("400 headers_missing headers.X-Region");
    expect(await fault({ ...values, "x-api-key": "MARK\r\nEvil: 1" })).toBe(
      "400 invalid_header headers.X-Api-Key",
    );
    expect(await fault({ ...values, "X-API-KEY": "2" })).toBe("400 duplicate_header headers.X-Api-Key");
    expect(verified).toBe(0);
    r.verify.headers = async () => {
      throw new Problem("unprocessable", "headers_refused", "No.");
    };
    expect(await fault(values)).toBe("422 headers_refused undefined");
    r.verify.headers = async () => {
      throw new Problem("upstream_timeout", "upstream_timeout", "Slow.");
    };
    expect(await fault(values)).toBe("504 upstream_timeout undefined");
    expect(await stored(r)).toBe(0);
    r.verify.headers = async () => {
      verified += 1;
    };
    const { status, body } = await put(r, flowId, { ...values, Cookie: "dropped" }, mine.value);
    expect({ status, body }).toEqual({
      status: 200,
      body: { status: "success", credential_id: expect.any(String), updated_at: r.world.now().toISOString() },
    });
    expect(verified).toBe(1);
    expect(await opened(r, mine.owner, upstream)).toEqual({ "x-api-key": "MARK-1", "x-region": "eu" });
    expect((await put(r, flowId, values, mine.value)).status).toBe(410);
  });

  it("the link tells the names and never a value", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const mine = await r.key("mine");
    const { flowId } = await r.connect.start(mine.owner, upstream);
    expect((await read(r, flowPath(flowId), mine.value)).body).toMatchObject({
      id: flowId,
      flow_mode: "vk",
      status: "pending",
      mcp_client: { client_id: upstream.id, name: "tickets" },
      virtual_key: { id: mine.owner.id },
      required_header_keys: names,
      admin_header_keys: ["x-tenant"],
      submitted_keys: [],
      has_active_credential: false,
    });
    const rows = (await read(r, "/api/mcp/sessions", mine.value)).body.sessions;
    expect(rows).toMatchObject([{ id: flowId, kind: "flow", auth_kind: "headers" }]);
    await put(r, flowId, values, mine.value);
    const again = await r.connect.start(mine.owner, upstream);
    const described = (await read(r, flowPath(again.flowId), mine.value)).body;
    expect(described).toMatchObject({ submitted_keys: names, has_active_credential: true });
    expect(JSON.stringify(described)).not.toContain("MARK");
    expect((await read(r, `/api/oauth/per-user/flows/${again.flowId}`, mine.value)).status).toBe(404);
    const oauth = await r.connect.start(mine.owner, r.upstream);
    expect((await read(r, flowPath(oauth.flowId), mine.value)).status).toBe(404);
    r.world.advance(16 * 60_000);
    expect((await read(r, flowPath(again.flowId), mine.value)).body.error.code).toBe("link_expired");
    expect((await put(r, again.flowId, values, mine.value)).status).toBe(410);
  });

  it("ID-01 only who the link was made for submits: not another key, not an administrator, not a key of the person", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const mine = await r.key("mine");
    const theirs = await r.key("theirs");
    const alice = await r.person("alice");
    const { value } = (await r.keys.create({
      name: "hers",
      configs: [],
      source: "api",
      userId: alice.owner.id,
    }))!;
    const own = (await r.connect.start(mine.owner, upstream)).flowId;
    const hers = (await r.connect.start(alice.owner, upstream)).flowId;
    expect((await put(r, own, values, theirs.value)).status).toBe(404);
    expect((await read(r, flowPath(own), theirs.value)).status).toBe(404);
    expect((await put(r, own, values, adminToken)).status).toBe(403);
    expect((await put(r, hers, values, value.reveal())).status).toBe(403);
    expect((await r.api(flowPath(own), { method: "PUT", body: { headers: values } })).status).toBe(401);
    expect(await stored(r)).toBe(0);
    const discovery = await r.connect.start({ mode: "discovery", id: upstream.id }, upstream);
    expect((await put(r, discovery.flowId, values, mine.value)).status).toBe(404);
    expect((await put(r, discovery.flowId, values, adminToken)).status).toBe(200);
  });

  it("ID-25 are edited in place: same id, same created_at; deleting them takes the open links along", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const mine = await r.key("mine");
    const theirs = await r.key("theirs");
    const first = await r.connect.start(mine.owner, upstream);
    const { credential_id } = (await put(r, first.flowId, values, mine.value)).body;
    const [row] = (await read(r, "/api/mcp/sessions?kind=header", mine.value)).body.sessions;
    expect(row).toMatchObject({
      id: credential_id,
      kind: "header",
      auth_kind: "headers",
      status: "active",
      can_reauth: true,
    });
    r.world.advance(60_000);
    const { status, body } = await read(r, `/api/mcp/sessions/${row.id}/reauth`, mine.value, "POST");
    const link = `${r.base}/workspace/mcp-sessions/auth?flow=${body.session_id}&kind=headers`;
    expect({ status, body }).toEqual({
      status: 200,
      body: { authorize_url: link, submit_url: link, session_id: body.session_id, kind: "headers" },
    });
    expect(
      (await put(r, body.session_id, { ...values, "X-Region": "us" }, mine.value)).body.credential_id,
    ).toBe(row.id);
    const [after] = (await read(r, "/api/mcp/sessions", mine.value)).body.sessions;
    expect(after).toMatchObject({
      id: row.id,
      created_at: row.created_at,
      last_refreshed_at: r.world.now().toISOString(),
    });
    expect(await opened(r, mine.owner, upstream)).toMatchObject({ "x-region": "us" });
    const open2 = await r.connect.start(mine.owner, upstream);
    const path = `/api/mcp/per-user-headers/credential/${row.id}`;
    expect((await read(r, path, theirs.value, "DELETE")).status).toBe(404);
    expect((await read(r, path, mine.value, "DELETE")).status).toBe(204);
    expect((await read(r, path, mine.value, "DELETE")).status).toBe(404);
    expect((await put(r, open2.flowId, values, mine.value)).status).toBe(410);
    expect(await opened(r, mine.owner, upstream)).toEqual({ outcome: "needs_user", reason: "missing" });
  });

  it("a token's row is not deleted as header values", async () => {
    const r = await rig(open, closing);
    const mine = await r.key("mine");
    const secret = {
      kind: "oauth" as const,
      accessToken: new Hidden("t"),
      oauthConfigId: r.upstream.oauthConfigId!,
    };
    const binding = { owner: mine.owner, upstreamId: r.upstream.id, account: "", secret };
    const row = await r.database.transaction((tx) => r.vault.put(tx, binding));
    const path = `/api/mcp/per-user-headers/credential/${row!.id}`;
    expect((await read(r, path, mine.value, "DELETE")).status).toBe(404);
  });

  it("what ends the link while the upstream is asked stores nothing: access lost, or other names wanted", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const mine = await r.key("mine");
    const first = await r.connect.start(mine.owner, upstream);
    r.verify.headers = () => r.database.transaction((tx) => r.vault.setAccess(tx, mine.owner, new Set()));
    expect((await put(r, first.flowId, values, mine.value)).status).toBe(410);
    const second = await r.connect.start(mine.owner, upstream);
    r.verify.headers = () => r.upstreams.update(upstream.id, { per_user_header_keys: [...names, "X-New"] });
    expect((await put(r, second.flowId, values, mine.value)).body.error.code).toBe("mcp_client_changed");
    expect(await stored(r)).toBe(0);
    r.verify.headers = async () => {};
    expect((await put(r, second.flowId, { ...values, "X-New": "1" }, mine.value)).status).toBe(200);
  });

  it("the form asks for the key and one value per name; what fails comes back to it, and no value with it", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const mine = await r.key("mine");
    const browser = r.browser();
    const { url } = await r.connect.start(mine.owner, upstream);
    const shown = await browser.get(url);
    for (const text of ["tickets", upstream.url.host, "the virtual key “mine”", ...names])
      expect(shown.html).toContain(text);
    expect(shown.html.match(/type="password"/g)).toHaveLength(3);
    const form = (one: { fields: object }) => "flow" in one.fields;
    const fill = (fields: Record<string, string>) =>
      browser.submitForm(form, {
        vk: mine.value,
        "header.X-Api-Key": "MARK-1",
        "header.X-Region": "eu",
        ...fields,
      });
    const alert = /<p class="error" role="alert"[^>]*>([^<]*)/;
    const failed = async (fields: Record<string, string>) => {
      const page = await fill(fields);
      expect(page.status).toBe(200);
      expect(page.html + page.url.href).not.toContain("MARK");
      return alert.exec(page.html)?.[1] ?? "";
    };
    expect(await failed({ vk: "sk-bf-wrong" })).toContain("not the virtual key");
    expect(await failed({ "header.X-Api-Key": " MARK" })).toMatch(/^X-Api-Key: This value cannot be sent/);
    expect(await failed({ "header.X-Region": "" })).toMatch(/^X-Region: Enter a value/);
    r.verify.headers = async () => {
      throw new Problem("unprocessable", "headers_refused", "No.");
    };
    expect(await failed({})).toContain("does not accept this");
    r.verify.headers = async () => {
      throw new Problem("upstream", "upstream_unreachable", "Gone.");
    };
    expect(await failed({})).toContain("could not be asked");
    expect(await stored(r)).toBe(0);
    r.verify.headers = async () => {};
    expect((await fill({})).html).toContain("is connected");
    expect(await opened(r, mine.owner, upstream)).toEqual({ "x-api-key": "MARK-1", "x-region": "eu" });
  });

  it("ID-09 a person's form opens for that person only, after signing in", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    const alice = await r.person("alice");
    const bob = await r.person("bob");
    const { url } = await r.connect.start(alice.owner, upstream);
    expect((await r.browser().get(url)).status).toBe(401);
    expect((await bob.browser.get(url)).status).toBe(403);
    expect((await alice.browser.get(url)).status).toBe(200);
    const form = (one: { fields: object }) => "flow" in one.fields;
    await alice.browser.submitForm(form, { "header.X-Api-Key": "k", "header.X-Region": "eu" });
    expect(await opened(r, alice.owner, upstream)).toEqual({ "x-api-key": "k", "x-region": "eu" });
  });

  it("during a consent they belong to the flow, and the form leads back to the services", async () => {
    const r = await rig(open, closing);
    const upstream = await define(r);
    r.gate.set(upstream.id, "flow_consent");
    const query = new URLSearchParams({ mcp_client_id: upstream.id, flow_id: "flow_consent" });
    const page = await r.api(`/oauth/consent/headers?${query}`);
    expect(await page.text()).toContain("a key of this test");
    const post = (fields: Record<string, string>) =>
      fetch(`${r.base}/oauth/consent/headers`, {
        method: "POST",
        redirect: "manual",
        body: new URLSearchParams({ mcp_client_id: upstream.id, flow_id: "flow_consent", ...fields }),
      });
    const failed = await post({ "header.X-Api-Key": "MARK" });
    expect(failed.headers.get("location")).toBe(
      `/oauth/consent/headers?${query}&error=headers_missing&field=X-Region`,
    );
    const done = await post({ "header.X-Api-Key": "MARK", "header.X-Region": "eu" });
    expect([done.status, done.headers.get("location")]).toEqual([
      303,
      "/oauth/consent/mcps?flow_id=flow_consent",
    ]);
    const owner: Owner = { mode: "flow", id: "flow_consent" };
    expect(await opened(r, owner, upstream)).toEqual({ "x-api-key": "MARK", "x-region": "eu" });
    query.set("mcp_client_id", r.upstream.id);
    expect((await r.api(`/oauth/consent/headers?${query}`)).status).toBe(404);
    r.gate.set(upstream.id, "flow_other");
    expect((await post({})).status).toBe(403);
  });
});
