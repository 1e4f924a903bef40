import type { KeyedHash, Settings, World } from "../base/index.ts";
import type { Database, Flows } from "../db/index.ts";
import type { Departed, Identities, Recorder, Sessions, Users } from "../identity/index.ts";
import type { JwtVerifier, SpentAssertions } from "../jwt/index.ts";
import type { OidcProvider, SsoProvider, SsoSettings } from "./config.ts";
import type { Discovery } from "./discovery.ts";

/** What the routes and steps of this folder answer from. */
export interface SsoParts {
  world: World;
  settings: Settings;
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  users: Users;
  sessions: Sessions;
  identities: Identities;
  verifier: JwtVerifier;
  spent: SpentAssertions;
  departed: Pick<Departed, "since">;
  record: Recorder;
  sso: SsoSettings;
  /** What each provider of type oidc publishes about itself. */
  discoveryOf(provider: OidcProvider): Discovery;
}

/** `sso:<id>`: who vouches, wherever it is written down. */
export function vouching({ id }: Pick<SsoProvider, "id">): string {
  return `sso:${id}`;
}

/** The address of a provider's step here; only ever of the configured base URL (attack AD-16). */
export function addressOf(
  { settings }: Pick<SsoParts, "settings">,
  { id }: Pick<SsoProvider, "id">,
  step: string,
): string {
  return `${settings.baseUrl.origin}/login/sso/${id}/${step}`;
}

/** What a form that leads to a provider may lead to: providers pass people on to sign-in hosts of their own, also on a machine of one's own. */
export function signInOrigins({ providers }: Pick<SsoSettings, "providers">): string[] {
  const origins = providers.flatMap((one) => formOrigin(one) ?? []);
  return providers.length === 0 ? [] : ["https:", ...new Set(origins)];
}

/** Where a provider's sign-in begins, when that is not https. */
export function formOrigin(provider: SsoProvider): string | undefined {
  const url = URL.parse(provider.type === "saml" ? provider.ssoUrl : provider.issuer);
  return url?.protocol === "http:" ? url.origin : undefined;
}
