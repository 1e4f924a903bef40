import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { type Database, openDatabase } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import { Groups, Identities, type Principal, type RecordedLine, Users } from "../identity/index.ts";
import { type IdentityRule, scimRoutes } from "./index.ts";

export const USER = "urn:ietf:params:scim:schemas:core:2.0:User";
export const GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group";
export const ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
export const LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
export const PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
export const ERROR = "urn:ietf:params:scim:api:messages:2.0:Error";

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the shape by asserting it
  body: any;
}

export interface Directory {
  world: TestWorld;
  database: Database;
  users: Users;
  groups: Groups;
  identities: Identities;
  /** What the audit trail was told. */
  lines: RecordedLine[];
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** The body of an answer that must have this status. */
  expect(status: number, method: string, path: string, body?: unknown): Promise<Answer["body"]>;
  find(filter: string, more?: string): Promise<Answer["body"]>;
  patch(path: string, ...operations: object[]): Promise<Answer>;
}

/** The routes of SCIM with the real parts below them, asked as a directory asks. */
export function openDirectory(database: Database, identityRule?: IdentityRule): Directory {
  const world = testWorld();
  const settings = testSettings();
  const users = new Users({ database, world, settings });
  const groups = new Groups({ database, world });
  const lines: RecordedLine[] = [];
  const record = async (_tx: unknown, line: RecordedLine) => void lines.push(line);
  const identities = new Identities({ database, world, users, groups, record });
  const parts = { database, world, settings, users, groups, identities, record, identityRule };
  const caller: Principal = { kind: "admin_token" };
  const options = { world, settings, limits: new RateLimits(world), authenticate: async () => caller };
  const app = mount(scimRoutes(parts), options);
  const send: Directory["send"] = async (method, path, body, headers = {}) => {
    const response = await app.request(`http://localhost:8080/scim/v2${path}`, {
      method,
      headers: {
        host: "localhost:8080",
        "content-type": "application/scim+json; charset=utf-8",
        accept: "application/scim+json",
        ...headers,
      },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === "" ? undefined : JSON.parse(text),
    };
  };
  const wanted: Directory["expect"] = async (status, method, path, body) => {
    const answer = await send(method, path, body);
    expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBe(status);
    return answer.body;
  };
  return {
    world,
    database,
    users,
    groups,
    identities,
    lines,
    send,
    expect: wanted,
    find: (filter, more = "") => wanted(200, "GET", `/Users?filter=${encodeURIComponent(filter)}${more}`),
    patch: (path, ...Operations) => send("PATCH", path, { schemas: [PATCH], Operations }),
  };
}

/** A person as Entra ID and Okta create them. */
export function person(name: string, more: object = {}) {
  return {
    schemas: [USER],
    userName: `${name}@example.com`,
    externalId: `ext-${name}`,
    name: { givenName: name, familyName: "Jensen" },
    displayName: `${name} Jensen`,
    emails: [{ value: `${name}@example.com`, type: "work", primary: true }],
    active: true,
    ...more,
  };
}

/** What a refusal says: status, SCIM's word for it. */
export const faultOf = ({ status, body }: Answer) => [status, body?.scimType];

/** The same suite on SQLite and Postgres; the database is one for all tests of it, emptied of people and groups after each. */
export function onSharedDatabases(name: string, suite: (database: () => Database) => void): void {
  describe.each(["sqlite", "postgres"] as const)(`${name} on %s`, (kind) => {
    const closing: (() => Promise<unknown>)[] = [];
    let database: Database;
    beforeAll(async () => {
      const fresh =
        kind === "postgres" ? await freshPostgresDatabase() : { url: "sqlite::memory:", drop: undefined };
      if (fresh.drop) closing.push(fresh.drop);
      database = await openDatabase(fresh.url, watchedLog());
      closing.push(() => database.close());
    });
    afterEach(async () => {
      await database.db.deleteFrom("groups").execute();
      await database.db.deleteFrom("users").execute();
    });
    afterAll(async () => {
      for (const close of closing.reverse()) await close();
    });
    suite(() => database);
  });
}
