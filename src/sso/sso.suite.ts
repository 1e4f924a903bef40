import { sql } from "kysely";
import { Browser, type Page } from "../../test/peers/browser.ts";
import { freePort } from "../../test/peers/free-port.ts";
import { CLIENT, type ScriptedProvider, startScriptedProvider } from "../../test/peers/scripted-provider.ts";
import type { OpenDatabase } from "../../test/support/databases.ts";
import { examine, watched, watchedLog } from "../../test/support/leavings.ts";
import { marked } from "../../test/support/marked.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Audit } from "../audit/index.ts";
import { KeyedHash, openLog, openOutbound, Seal } from "../base/index.ts";
import { Flows, openDatabase } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import { ApiTokens, Departed, Groups, Guard, Identities, Sessions, Users } from "../identity/index.ts";
import { JwtVerifier, SpentAssertions } from "../jwt/index.ts";
import { listen } from "../listen.ts";
import { Sso, ssoConfig } from "./index.ts";

export const SECRET = marked("the-clients-own-secret");
/** Where every sign-in of these tests leads: it shows who is signed in. */
export const LANDING = "/account/identities";

export type Entry = Record<string, unknown>;
export type Pair = Awaited<ReturnType<typeof startPair>>;

/** An entry of `sso.providers` for a provider that this test started. */
export function entryOf({ issuer }: Pick<ScriptedProvider, "issuer">, more: Entry = {}): Entry {
  return {
    id: "corp",
    type: "oidc",
    name: "Corp",
    issuer,
    client_id: CLIENT,
    client_secret: SECRET,
    ...more,
  };
}

/** Closes what a test opened, last first. */
export class Closing {
  readonly #all: (() => Promise<unknown>)[] = [];

  keep<T extends { close(): Promise<unknown> }>(one: T): T {
    this.#all.push(() => one.close());
    return one;
  }

  async close(): Promise<void> {
    for (const close of this.#all.splice(0).reverse()) await close();
  }
}

export interface Options {
  allow: string[];
  providers: Entry[];
  localSignIn?: boolean;
}

/** The routes of this folder with the real parts around them, on a port of its own. */
export async function setUp(open: OpenDatabase, closing: Closing, options: Options) {
  const outbound = closing.keep(openOutbound({ allow: { admin: options.allow, stranger: [] } }));
  const lines: { level: number; msg: string; request_id?: string }[] = [];
  const write = (line: string) => {
    examine("the log", line);
    lines.push(JSON.parse(line));
  };
  const log = openLog("info", { write });
  const world = { ...testWorld(outbound), log };
  const port = await freePort();
  const settings = testSettings({ baseUrl: new URL(`http://127.0.0.1:${port}`) });
  const { database, url } = await open();
  const seal = new Seal([world.random(32)], world.random);
  const hash = new KeyedHash(world.random(32));
  const common = { world, settings, database, seal, hash, flows: new Flows(world, seal) };
  const audit = new Audit(common);
  const users = new Users(common);
  const sessions = new Sessions({ ...common, users });
  const groups = new Groups(common);
  const record: ConstructorParameters<typeof Identities>[0]["record"] = (tx, line) => audit.append(tx, line);
  const identities = new Identities({ ...common, users, groups, record });
  const departed = new Departed(common);
  users.listeners.push({ deleted: (tx, user) => departed.note(tx, user.id) });
  const sso = new Sso({
    ...common,
    departed,
    users,
    sessions,
    identities,
    record,
    verifier: new JwtVerifier(common),
    spent: new SpentAssertions(common),
    sso: ssoConfig.parse({ local_sign_in: options.localSignIn ?? true, providers: options.providers }),
  });
  const guard = new Guard({
    ...common,
    sessions,
    tokens: new ApiTokens(common),
    resolveKey: async () => undefined,
  } as ConstructorParameters<typeof Guard>[0]);
  const app = mount(sso.routes(), {
    world,
    settings,
    limits: new RateLimits(world),
    authenticate: (request, route) => guard.authenticate(request, route),
  });
  const server = await listen(watched({ direct: () => false, fetch: app.fetch as never }), "127.0.0.1", port);
  closing.keep({ close: () => server.stop() });
  const base = `http://127.0.0.1:${port}`;
  const parts = { ...common, audit, users, sessions, groups, identities, sso, base, databaseUrl: url };
  return {
    ...parts,
    /** What an operator sees, from info up. */
    lines,
    browser: () => closing.keep(new Browser()),
    /** Events of the audit trail with their details, oldest first. */
    audited: async () => {
      await audit.flush();
      const rows = await database.db.selectFrom("audit").selectAll().orderBy("id").execute();
      return rows.map(({ event, detail_json, request_id }) => ({
        event,
        detail: JSON.parse(detail_json) as Record<string, unknown>,
        requestId: request_id,
      }));
    },
    /** Signs somebody in without a provider, as a password would. */
    signedIn: async (browser: Browser, userId: string) => {
      const session = await sessions.start({ id: userId });
      const [, line] = sessions.cookie(session);
      browser.cookies.store(new URL(base), line);
    },
    /** How many rows there are that a refused sign-in may not leave. */
    count: async () => {
      const tables = ["users", "user_identities", "dashboard_sessions", "group_members"];
      const counts = tables.map(async (table) => {
        const { rows } = await sql<{ n: number }>`select count(*) as n from ${sql.table(table)}`.execute(
          database.db,
        );
        return Number(rows[0]!.n);
      });
      return Promise.all(counts);
    },
  };
}

/** For what does not touch the stores in a way that databases could differ in. */
export function inMemory(closing: Closing): OpenDatabase {
  return async () => {
    const url = "sqlite::memory:";
    return { database: closing.keep(await openDatabase(url, watchedLog())), url };
  };
}

/** One scripted provider, and a gateway that knows it. Both go by the gateway's clock. */
export async function startPair(open: OpenDatabase, closing: Closing, more: Entry = {}, alg?: string) {
  let now = () => new Date();
  const provider = closing.keep(await startScriptedProvider(() => now(), alg));
  const gateway = await setUp(open, closing, {
    allow: [provider.hostPort],
    providers: [entryOf(provider, more)],
  });
  now = () => gateway.world.now();
  return { provider, ...gateway };
}

/** Presses the provider's button on the sign-in page, as far as the redirects lead. */
export function signIn(browser: Browser, base: string, id = "corp", returnTo = LANDING): Promise<Page> {
  return browser.submit(`${base}/login/sso/${id}`, { return_to: returnTo }, { from: `${base}/login` });
}

/** The code of a refusal's page. */
export function codeOn(page: Page): [number, string | undefined] {
  return [page.status, /\(([a-z_]+)\)\.<\/p>/.exec(page.html)?.[1]];
}
