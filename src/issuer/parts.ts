import type { Access, VirtualKeys, VirtualMcps } from "../access/index.ts";
import type { Audit } from "../audit/index.ts";
import type { KeyedHash, Seal, Settings, World } from "../base/index.ts";
import type { Database, Flows } from "../db/index.ts";
import type { Departed, Identities, ServiceAccounts, SignInMethod } from "../identity/index.ts";
import type { JwtVerifier, SpentAssertions } from "../jwt/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import type { Vault } from "../vault/index.ts";
import type { MachineTrust } from "./machine-config.ts";

/** The person behind the dashboard cookie of a browser, while signed in. */
export interface SignedIn {
  userId: string;
  email: string;
  name: string;
  role: "admin" | "member";
  method: SignInMethod;
}

/** Everything the issuer stands on, built in app.ts. */
export interface IssuerParts {
  world: World;
  database: Database;
  flows: Flows;
  seal: Seal;
  hash: KeyedHash;
  settings: Settings;
  audit: Pick<Audit, "append">;
  upstreams: Pick<Upstreams, "all" | "find">;
  vault: Pick<Vault, "adopt" | "dropOwner" | "statuses">;
  virtualKeys: Pick<VirtualKeys, "authenticate">;
  access: Pick<Access, "rulesFor">;
  virtualMcps: Pick<VirtualMcps, "serving">;
  jwt: Pick<JwtVerifier, "verify">;
  spent: Pick<SpentAssertions, "spend">;
  identities: Pick<Identities, "admit">;
  departed: Pick<Departed, "since">;
  serviceAccounts: Pick<ServiceAccounts, "findByName">;
  /** Whose signed statements give access without a consent, by the configuration file. */
  machines: MachineTrust;
  /** Who is signed in to the dashboard in this browser, checked against the database. */
  sessionOf(request: Request): Promise<SignedIn | undefined>;
  /** Ends that sign-in; the `Set-Cookie` that makes the browser forget it. */
  signOut(request: Request): Promise<[string, string]>;
}
