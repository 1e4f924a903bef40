import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach } from "vitest";
import { startFakeProvider } from "../../test/profiles/fake-provider.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Audit } from "../audit/index.ts";
import { type Owner, Seal } from "../base/index.ts";
import { redeem } from "../connect/exchange.ts";
import { Flows, Outbox, openDatabase } from "../db/index.ts";
import { Vault } from "../vault/index.ts";
import {
  checkDefinition,
  type DefinitionBody,
  type Profiles,
  type UpstreamAuthorization,
  UpstreamOAuth,
  Upstreams,
} from "./index.ts";

const FIXTURES = join(import.meta.dirname, "../../test/profiles");

export interface ExpectedToken {
  access_token: string;
  refresh_token?: string;
  expires_in?: number;
  scopes?: string[];
  subject?: string;
}

/** An answer of a real provider in its documented form, and what must come of it. */
export interface Fixture {
  provider: string;
  upstream: string;
  protected_resource: object;
  metadata: { at: string; document: object } | null;
  registration: { at: string; answer: object } | null;
  oauth_config: NonNullable<DefinitionBody["oauth_config"]>;
  authorize: { url: string; parameters: Record<string, string>; resource: boolean };
  code: { at: string; client: string; answer: object; token: ExpectedToken };
  failure: { answer: { status: number; body: object }; error: string | null };
  refresh: { at: string; answer: object; token: ExpectedToken } | null;
  revoke:
    | null
    | { kind: "rfc7009"; at: string; client: string }
    | {
        kind: "request";
        method: string;
        at: string;
        authorization?: string;
        json?: object;
        form?: Record<string, string>;
        status: number;
        answer?: object;
      };
}

export const fixtures = readdirSync(FIXTURES)
  .filter((file) => file.endsWith(".json"))
  .map((file) => [
    file.replace(".json", ""),
    JSON.parse(readFileSync(join(FIXTURES, file), "utf8")) as Fixture,
  ]) as [string, Fixture][];

export const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

export const person: Owner = { mode: "user", id: "u1" };

export async function start(fixture: Fixture, profiles?: Profiles) {
  const fake = await startFakeProvider();
  closing.push(fake.close);
  const { upstream: address, metadata, registration } = fixture;
  const { origin, pathname } = new URL(address);
  const prm = `${origin}/.well-known/oauth-protected-resource${pathname === "/" ? "" : pathname}`;
  fake.answers[`POST ${new URL(address).href}`] = {
    status: 401,
    headers: { "www-authenticate": `Bearer resource_metadata="${prm}"` },
  };
  fake.answers[`GET ${prm}`] = { body: fixture.protected_resource };
  if (metadata) fake.answers[`GET ${metadata.at}`] = { body: metadata.document };
  if (registration) fake.answers[`POST ${registration.at}`] = { status: 201, body: registration.answer };
  const world = testWorld(fake.outbound);
  const database = await openDatabase("sqlite::memory:", watchedLog());
  closing.push(() => database.close());
  const seal = new Seal([world.random(32)], world.random);
  const settings = testSettings();
  const parts = { world, database, seal, settings };
  const upstreams = new Upstreams(parts);
  const oauth = new UpstreamOAuth({ ...parts, profiles });
  const outbox = new Outbox(world, seal);
  const audit = new Audit({ database, world });
  const vault = new Vault({ world, database, seal, flows: new Flows(world, seal), outbox, audit, oauth });
  const body = {
    name: "up",
    connection_string: address,
    auth_type: "per_user_oauth" as const,
    oauth_config: fixture.oauth_config,
  };
  const upstream = await upstreams.create(checkDefinition(body), "api");
  return { ...parts, fake, oauth, outbox, vault, upstream, upstreams };
}
export type Bench = Awaited<ReturnType<typeof start>>;

export function exchange({ world }: Bench, authorization: UpstreamAuthorization) {
  const trip = {
    config_id: authorization.configId,
    issuer: authorization.issuer,
    token_endpoint: authorization.server.token_endpoint!,
    redirect_uri: authorization.redirectUri,
    iss_promised: false,
  };
  const parameters = new URLSearchParams({ code: "code-1", state: "state-1" });
  return redeem({ world }, authorization, trip, { parameters, verifier: "v".repeat(43) });
}
