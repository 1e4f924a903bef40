import type { Database } from "../../src/db/index.ts";
import type { Route } from "../../src/http/index.ts";

/** Who may come with a request, and what is known of them. */
export interface Caller {
  name: string;
  /** Under which heading docs/guide/permissions.md has them. */
  column: Column;
  /** What proves them; `nothing`: no credential, or none that counts on /api and /mcp alike. */
  proof: "nothing" | "session" | "admin_token" | "api_token" | "virtual_key" | "jwt" | "client_token" | "two";
  isAdmin?: boolean;
  /** Of an API token. */
  scopes?: readonly string[];
  /** Whether /mcp takes it. */
  isForMcp?: boolean;
}

export const columns = [
  "nobody",
  "member",
  "administrator",
  "automation",
  "admin_api",
  "member_api",
  "key",
  "jwt_person",
  "jwt_admin",
  "client",
] as const;
export type Column = (typeof columns)[number];

const nobody = { column: "nobody", proof: "nothing" } as const;
const session = { proof: "session" } as const;
const key = { column: "key", proof: "virtual_key", isForMcp: true } as const;
const two = { column: "nobody", proof: "two" } as const;

/** Every kind of caller. `callersOf` (house.ts) makes the headers of each. */
export const callers: readonly Caller[] = [
  { ...nobody, name: "nobody" },
  { ...nobody, name: "an empty Authorization" },
  { ...nobody, name: "another scheme" },
  { ...nobody, name: "a bearer that is nothing of ours" },
  { ...nobody, name: "an unknown virtual key" },
  { ...nobody, name: "an unknown token" },
  { ...nobody, name: "an unknown session" },
  { ...nobody, name: "an anonymous session value" },
  { ...nobody, name: "an expired API token" },
  { ...nobody, name: "an expired session" },
  { ...nobody, name: "an expired virtual key" },
  { ...nobody, name: "a virtual key that is off" },
  { ...nobody, name: "an expired client's token" },
  { ...nobody, name: "the session of who is off" },
  { ...nobody, name: "the API token of who is off" },
  { ...nobody, name: "the virtual key of who is off" },
  { ...nobody, name: "an expired JWT" },
  { ...nobody, name: "a JWT for another audience" },
  { ...nobody, name: "a JWT of a key that is off" },
  { ...session, name: "a member", column: "member" },
  { ...session, name: "an administrator", column: "administrator", isAdmin: true },
  { ...session, name: "an administrator by a group", column: "administrator", isAdmin: true },
  { name: "the automation token", column: "automation", proof: "admin_token", isAdmin: true },
  {
    name: "an administrator's API token",
    column: "admin_api",
    proof: "api_token",
    isAdmin: true,
    scopes: ["write"],
  },
  {
    name: "an administrator's API token to read",
    column: "admin_api",
    proof: "api_token",
    isAdmin: true,
    scopes: ["read"],
  },
  {
    name: "an administrator's API token for something else",
    column: "admin_api",
    proof: "api_token",
    isAdmin: true,
    scopes: ["write:audit"],
  },
  { name: "a member's API token", column: "member_api", proof: "api_token", scopes: ["write"] },
  { name: "a member's API token to read", column: "member_api", proof: "api_token", scopes: ["read"] },
  { ...key, name: "a virtual key" },
  { ...key, name: "a member's virtual key" },
  { ...key, name: "an administrator's virtual key" },
  { ...key, name: "a service account's virtual key" },
  { ...key, name: "a JWT of a virtual key" },
  { name: "a JWT of a person", column: "jwt_person", proof: "jwt", isForMcp: true },
  { name: "a JWT of an administrator", column: "jwt_admin", proof: "jwt", isAdmin: true },
  { name: "a client's token", column: "client", proof: "client_token", isForMcp: true },
  { ...two, name: "a token and a virtual key" },
  { ...two, name: "two tokens" },
];

/** What each sends. */
export type Headers = Readonly<Record<string, Record<string, string>>>;

/** A gateway with all of them. */
export interface House {
  kind: "sqlite" | "postgres";
  database: Database;
  routes: readonly Route[];
  headers: Headers;
  send(method: string, target: string, headers: Record<string, string>, body?: string): Promise<Answered>;
  /** The same caller in another browser, for what ends a session. */
  again(name: string): Record<string, string>;
  /** The same, made now: nothing else may be writing. */
  signedIn(name: string): Promise<Record<string, string>>;
  /** Ids of things that another person has, by what they are. */
  foreign: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface Answered {
  status: number;
  /** Where it leads. */
  location: string;
  text: string;
}
