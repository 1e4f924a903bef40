import { afterEach, expect, it } from "vitest";
import type { Browser, Page } from "../../test/peers/browser.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const unsigned = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");

/** The next code is answered with tokens of this account; `claims`: what else the ID token says. */
function answerAs(r: Rig, sub: string, claims: Record<string, unknown> = {}): void {
  const exp = Math.floor(r.world.now().getTime() / 1000) + 600;
  const aud = r.provider.lastAuthorize!.client_id;
  const payload = { iss: r.provider.issuer, aud, exp, sub, ...claims };
  r.provider.failNextToken({
    status: 200,
    body: {
      access_token: `access-of-${sub}`,
      refresh_token: `refresh-of-${sub}`,
      token_type: "Bearer",
      id_token: `${unsigned({ alg: "none" })}.${unsigned(payload)}.`,
    },
  });
}

/** Walks a link to its end as an account of the provider. */
async function connectAs(
  r: Rig,
  browser: Browser,
  url: string,
  {
    sub,
    claims,
    typed = {},
  }: { sub: string; claims?: Record<string, unknown>; typed?: Record<string, string> },
): Promise<Page> {
  await browser.get(url);
  const stopAt = `${r.base}/api/oauth/callback`;
  const { stoppedAt } = await browser.submitForm(/mcp-sessions\/auth/, typed, { stopAt });
  if (!stoppedAt) throw new Error(`not sent back: ${browser.page?.html}`);
  answerAs(r, sub, claims);
  return browser.get(stoppedAt);
}

interface Bench extends Rig {
  alice: { owner: Owner; browser: Browser };
  /** A fresh link of alice's, replacing the one before. */
  again(): Promise<string>;
}

/** Alice, connected as x@example.com. */
async function bench(open: Parameters<typeof rig>[0]): Promise<Bench> {
  const r = await rig(open, closing);
  const alice = await r.person("alice");
  const again = async () => (await r.connect.start(alice.owner, r.upstream, "", { replace: true })).url;
  const page = await connectAs(r, alice.browser, await again(), {
    sub: "id-x",
    claims: { email: "x@example.com" },
  });
  expect(page.html).toContain("Connected");
  return { ...r, alice, again };
}

function rows(r: Rig) {
  return r.database.db
    .selectFrom("credentials")
    .select(["id", "owner_mode", "subject", "subject_name", "generation", "created_at"])
    .orderBy("id")
    .execute();
}

async function bearer(r: Rig, owner: Owner, upstream: Upstream = r.upstream): Promise<string> {
  const opened = await r.vault.open(owner, upstream);
  if (opened.outcome !== "ready") return opened.outcome;
  const headers: Record<string, string> = {};
  opened.authorize(headers);
  return headers.authorization!;
}

/** The tokens that the provider was told of, and nothing is left that holds a secret. */
async function told(r: Rig): Promise<unknown[]> {
  r.provider.revocations.length = 0;
  await r.outbox.run(r.database);
  expect(await held(r)).toEqual([]);
  return r.provider.revocations.map(({ token }) => token);
}

function held(r: Rig) {
  return r.database.db
    .selectFrom("flows")
    .select("id")
    .where("kind", "=", "swap")
    .where("sealed", "is not", null)
    .execute();
}

async function events(r: Rig): Promise<string[]> {
  const lines = await r.database.db.selectFrom("audit").select("event").orderBy("at").orderBy("id").execute();
  return lines.map(({ event }) => event).filter((event) => event.startsWith("credential.account_"));
}

const asked = "This is another calendar account";
const ofX = ["refresh-of-id-x", "access-of-id-x"];
const ofY = ["refresh-of-id-y", "access-of-id-y"];

onBothDatabases("another account on re-authentication", (open) => {
  it("UP-31 asks first, stores nothing meanwhile, and replaces the same row when told to", async () => {
    const b = await bench(open);
    const [before] = await rows(b);
    const page = await connectAs(b, b.alice.browser, await b.again(), {
      sub: "id-y",
      claims: { email: "y@example.com" },
    });
    expect(page.status, page.html).toBe(200);
    expect(page.html).toContain(asked);
    expect(page.html).toContain("x@example.com");
    expect(page.html).toContain("y@example.com");
    expect(page.html).not.toContain("access-of");
    expect(await rows(b)).toEqual([before]);
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-x");
    b.world.advance(60_000);
    const done = await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace" });
    expect(done.html).toContain("Connected");
    expect(await rows(b)).toEqual([
      { ...before, subject: "id-y", subject_name: "y@example.com", generation: 2 },
    ]);
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-y");
    expect(await told(b)).toEqual(ofX);
    expect(await events(b)).toEqual(["credential.account_replaced"]);
    // A double click, and the page opened once more.
    const again = await b.alice.browser.submit(page.url, {
      flow: page.url.searchParams.get("flow")!,
      choice: "keep",
    });
    expect(again.html).toContain("Connected");
    expect((await b.alice.browser.get(page.url)).html).toContain("Connected");
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-y");
  });

  it("UP-31 keeps the old one when told to, and gives the new tokens back", async () => {
    const b = await bench(open);
    const before = await rows(b);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    expect(page.html).toContain("id-y");
    const done = await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: /Keep/ });
    expect(done.html).toContain("Nothing changed");
    expect(await rows(b)).toEqual(before);
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-x");
    expect(await told(b)).toEqual(ofY);
    expect(await events(b)).toEqual(["credential.account_kept"]);
    // The link is spent.
    const form = { flow: page.url.searchParams.get("flow")!, choice: "replace" };
    expect((await b.alice.browser.submit(page.url, form)).html).toContain("Nothing changed");
    expect(await rows(b)).toEqual(before);
  });

  it("UP-31 two answers at once: one counts", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const flow = page.url.searchParams.get("flow")!;
    const answers = await Promise.all(
      ["replace", "keep", "replace"].map((choice) =>
        b.alice.browser.submit(page.url, { flow, choice }, { from: page, followRedirects: false }),
      ),
    );
    expect(answers.filter(({ status }) => status === 303).length).toBeGreaterThanOrEqual(1);
    const [row] = await rows(b);
    const all = await told(b);
    expect([ofX, ofY]).toContainEqual(all);
    expect(row).toMatchObject(
      all[0] === ofX[0] ? { subject: "id-y", generation: 2 } : { subject: "id-x", generation: 1 },
    );
  });

  it("UP-31 what the provider calls an account is text, and told apart", async () => {
    const b = await bench(open);
    const name = "<b>x</b>\u202E@example.com";
    const page = await connectAs(b, b.alice.browser, await b.again(), {
      sub: "id-y",
      claims: { email: name },
    });
    expect(page.html).toContain("&lt;b&gt;x&lt;/b&gt;@example.com");
    expect(page.html).not.toContain("\u202E");
    const same = await connectAs(b, b.alice.browser, await b.again(), {
      sub: "id-z",
      claims: { preferred_username: "x@example.com" },
    });
    expect(same.html).toContain("x@example.com (id-x)");
    expect(same.html).toContain("x@example.com (id-z)");
    // The first question went with its link.
    expect((await b.alice.browser.get(page.url)).status).toBe(410);
    await b.alice.browser.get(same.url);
    await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: /Keep/ });
    expect((await told(b)).toSorted()).toEqual([...ofY, "refresh-of-id-z", "access-of-id-z"].toSorted());
  });

  it("UP-31 the same account, and a provider that names none, are not asked about", async () => {
    const b = await bench(open);
    const same = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-x" });
    expect(same.html).toContain("Connected");
    await b.alice.browser.get(await b.again());
    // The real provider answers without an ID token.
    expect((await b.alice.browser.submitForm(/mcp-sessions\/auth/)).html).toContain("Connected");
    expect(await rows(b)).toMatchObject([{ subject: null, generation: 3 }]);
    const named = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    expect(named.html).toContain("Connected");
    expect(await told(b)).toEqual([]);
  });

  it("UP-31 an account that somebody else holds too is not ended by replacing it", async () => {
    const b = await bench(open);
    const other: Owner = { mode: "vk", id: "vk_other" };
    await b.database.transaction((tx) =>
      b.vault.put(tx, {
        owner: other,
        upstreamId: b.upstream.id,
        account: "",
        secret: {
          kind: "oauth",
          accessToken: new Hidden("another"),
          subject: "id-x",
          oauthConfigId: b.upstream.oauthConfigId!,
        },
      }),
    );
    await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace" });
    expect(await told(b)).toEqual([]);
    const line = await b.database.db
      .selectFrom("audit")
      .select("detail_json")
      .where("event", "=", "credential.provider_not_told")
      .executeTakeFirstOrThrow();
    expect(line.detail_json).toContain("account_still_used");
  });

  it("UP-31 the question is for the browser and the person it was put to", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const flow = page.url.searchParams.get("flow")!;
    const bob = await b.person("bob");
    for (const stranger of [b.browser(), bob.browser]) {
      const shown = await stranger.get(page.url);
      expect(shown.status).toBe(403);
      expect(shown.html).not.toContain("id-y");
      for (const choice of ["replace", "keep"])
        expect((await stranger.submit(page.url, { flow, choice }, { from: page })).status).toBe(403);
    }
    // Alice's browser, in which somebody else has signed in meanwhile.
    for (const [name, value] of (
      bob.browser.cookies.header(new URL(b.base), { crossSite: false, safe: true }) ?? ""
    )
      .split("; ")
      .map((pair) => pair.split("=") as [string, string]))
      b.alice.browser.cookies.store(new URL(b.base), `${name}=${value}; Path=/`);
    expect((await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page })).status).toBe(
      403,
    );
    expect(await rows(b)).toMatchObject([{ subject: "id-x", generation: 1 }]);
    expect(
      (await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: "http://evil.example/" }))
        .status,
    ).toBe(403);
    expect(
      (await b.alice.browser.get(`${b.base}/workspace/mcp-sessions/account?flow=flow_none`)).status,
    ).toBe(404);
    expect((await b.alice.browser.submit(page.url, { flow, choice: "both" }, { from: page })).status).toBe(
      400,
    );
  });

  it.each(["delete", "orphan", "reauth", "depart"] as const)(
    "UP-31 access that ends while the person thinks (%s): nothing stored, and the provider is told at once",
    async (deed) => {
      const b = await bench(open);
      const [before] = await rows(b);
      const link = await b.again();
      const page = await connectAs(b, b.alice.browser, link, { sub: "id-y" });
      if (deed === "delete") {
        const gone = await b.database.transaction((tx) => b.vault.revoke(tx, before!.id, "deleted"));
        expect(gone).toBe(true);
      }
      if (deed === "orphan")
        await b.database.transaction((tx) => b.vault.setAccess(tx, b.alice.owner, new Set()));
      if (deed === "reauth") await b.again();
      if (deed === "depart") {
        await b.alice.browser.get(link);
        await b.alice.browser.submitForm(
          /mcp-sessions\/auth/,
          {},
          { stopAt: `${b.base}/api/oauth/callback` },
        );
      }
      const flow = page.url.searchParams.get("flow")!;
      const late = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
      expect(late.status, deed).toBe(410);
      expect(await bearer(b, b.alice.owner)).toBe(
        deed === "delete" || deed === "orphan" ? "needs_user" : "Bearer access-of-id-x",
      );
      expect((await told(b)).toSorted()).toEqual((deed === "delete" ? [...ofX, ...ofY] : ofY).toSorted());
    },
  );

  it("UP-31 a question that nobody answers expires, and nothing is left behind", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    b.world.advance(9 * 60_000);
    await b.vault.dropAbandoned();
    expect(await held(b)).toHaveLength(1);
    b.world.advance(2 * 60_000);
    const flow = page.url.searchParams.get("flow")!;
    const late = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
    expect(late.status).toBe(410);
    expect(late.html).toContain("nothing was changed");
    await b.vault.dropAbandoned();
    expect(await told(b)).toEqual(ofY);
    expect(await rows(b)).toMatchObject([{ subject: "id-x", generation: 1 }]);
  });

  it("UP-31 a person who is switched off replaces nothing, and can when on again", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const flow = page.url.searchParams.get("flow")!;
    const disable = (disabled: number) =>
      b.database.db.updateTable("upstreams").set({ disabled }).where("id", "=", b.upstream.id).execute();
    await disable(1);
    const refused = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
    expect(refused.status).toBe(409);
    await disable(0);
    const done = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
    expect(done.html).toContain("Connected");
    expect(await rows(b)).toMatchObject([{ subject: "id-y" }]);
  });

  it("UP-31 during a consent the identity's own account is what is asked about", async () => {
    const r = await rig(open, closing);
    const identity: Owner = { mode: "vk", id: "vk_consent" };
    const give = (sub: string) =>
      r.database.transaction((tx) =>
        r.vault.put(tx, {
          owner: identity,
          upstreamId: r.upstream.id,
          account: "",
          replaces: sub === "id-x" ? undefined : "id-x",
          secret: {
            kind: "oauth",
            accessToken: new Hidden(`access-of-${sub}`),
            subject: sub,
            oauthConfigId: r.upstream.oauthConfigId!,
          },
        }),
      );
    await give("id-x");
    r.gate.set(r.upstream.id, "flow_consent");
    const browser = r.browser();
    const back = `${r.base}/oauth/consent/mcps`;
    const connect = async (sub: string) => {
      const authorize = `${r.base}/api/oauth/per-user/upstream/authorize?mcp_client_id=${r.upstream.id}&flow_id=flow_consent`;
      const { stoppedAt } = await browser.get(authorize, { stopAt: `${r.base}/api/oauth/callback` });
      answerAs(r, sub);
      return browser.get(stoppedAt!, { stopAt: back });
    };
    expect((await connect("id-x")).stoppedAt?.search).toBe("?flow_id=flow_consent");
    const page = await connect("id-y");
    expect(page.html).toContain(asked);
    const done = await browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace", stopAt: back });
    expect(done.stoppedAt?.search).toBe("?flow_id=flow_consent");
    const twice = await browser.submit(
      page.url,
      { flow: page.url.searchParams.get("flow")!, choice: "replace" },
      { from: page, stopAt: back },
    );
    expect(twice.stoppedAt?.search).toBe("?flow_id=flow_consent");
    // Nothing of the identity's changes before the submit.
    expect(await bearer(r, identity)).toBe("Bearer access-of-id-x");
    const adopt = () => r.database.transaction((tx) => r.vault.adopt(tx, "flow_consent", identity));
    expect(await adopt()).toEqual([r.upstream.id]);
    expect(await bearer(r, identity)).toBe("Bearer access-of-id-y");
    // Another account took the identity's place after the person was asked: the submit does not swap it unseen.
    await connect("id-z");
    await browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace", stopAt: back });
    await r.database.db
      .updateTable("credentials")
      .set({ subject: "id-w" })
      .where("owner_id", "=", identity.id)
      .execute();
    expect(await adopt()).toEqual([]);
    expect(await bearer(r, identity)).toBe("Bearer access-of-id-y");
    expect(await told(r)).toEqual(expect.arrayContaining(["access-of-id-z", "refresh-of-id-z"]));
  });

  it("UP-31 a consent that ends takes the open question with it", async () => {
    const r = await rig(open, closing);
    const browser = r.browser();
    r.gate.set(r.upstream.id, "flow_consent");
    const connect = async (sub: string) => {
      const authorize = `${r.base}/api/oauth/per-user/upstream/authorize?mcp_client_id=${r.upstream.id}&flow_id=flow_consent`;
      const { stoppedAt } = await browser.get(authorize, { stopAt: `${r.base}/api/oauth/callback` });
      answerAs(r, sub);
      return browser.get(stoppedAt!, { stopAt: `${r.base}/oauth/consent/mcps` });
    };
    await connect("id-x");
    expect((await connect("id-y")).html).toContain(asked);
    // As the submit does it: open links end first, whatever they are.
    const owner: Owner = { mode: "flow", id: "flow_consent" };
    await r.database.transaction((tx) => r.flows.end(tx, { owner }, "consent_submitted"));
    expect(await held(r)).toHaveLength(1);
    await r.vault.dropAbandoned();
    expect(await told(r)).toEqual(expect.arrayContaining(ofY));
  });

  it("UP-31 the list of sessions is as before while the question is open", async () => {
    const b = await bench(open);
    await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const { sessions } = await readJson(
      await b.api("/api/mcp/sessions", { bearer: "admin-token-admin-token-admin" }),
    );
    expect(sessions).toHaveLength(1);
    expect(sessions[0]).toMatchObject({ kind: "token", status: "active" });
  });
});
