import { afterEach, expect } from "vitest";
import type { Browser, Page } from "../../test/peers/browser.ts";
import type { Owner } from "../base/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Rig, rig } from "./connect.suite.ts";

export const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const unsigned = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");

/** The next code is answered with tokens of this account; `claims`: what else the ID token says. */
export function answerAs(r: Rig, sub: string, claims: Record<string, unknown> = {}): void {
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
export async function connectAs(
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
export async function bench(open: Parameters<typeof rig>[0]): Promise<Bench> {
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

export function rows(r: Rig) {
  return r.database.db
    .selectFrom("credentials")
    .select(["id", "owner_mode", "subject", "subject_name", "generation", "created_at"])
    .orderBy("id")
    .execute();
}

export async function bearer(r: Rig, owner: Owner, upstream: Upstream = r.upstream): Promise<string> {
  const opened = await r.vault.open(owner, upstream);
  if (opened.outcome !== "ready") return opened.outcome;
  const headers: Record<string, string> = {};
  opened.authorize(headers);
  return headers.authorization!;
}

/** The tokens that the provider was told of, and nothing is left that holds a secret. */
export async function told(r: Rig): Promise<unknown[]> {
  r.provider.revocations.length = 0;
  await r.outbox.run(r.database);
  expect(await held(r)).toEqual([]);
  return r.provider.revocations.map(({ token }) => token);
}

export function held(r: Rig) {
  return r.database.db
    .selectFrom("flows")
    .select("id")
    .where("kind", "=", "swap")
    .where("sealed", "is not", null)
    .execute();
}

export async function events(r: Rig): Promise<string[]> {
  const lines = await r.database.db.selectFrom("audit").select("event").orderBy("at").orderBy("id").execute();
  return lines.map(({ event }) => event).filter((event) => event.startsWith("credential.account_"));
}

export const asked = "This is another calendar account";
export const ofX = ["refresh-of-id-x", "access-of-id-x"];
export const ofY = ["refresh-of-id-y", "access-of-id-y"];
