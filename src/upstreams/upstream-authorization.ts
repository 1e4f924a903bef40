import type { AuthorizationServer, Client, ClientAuth } from "oauth4webapi";
import type { Hidden, Tls } from "../base/index.ts";
import type { ClientSource } from "./oauth-records.ts";
import type { ProviderFacts } from "./profile.ts";
import type { AuthMethod } from "./registration.ts";
import type { GrantType, SubjectTokenType } from "./upstream.ts";

/** All that a round trip with an upstream's authorization server needs. */
export interface UpstreamAuthorization {
  configId: string;
  /** Another one after every change of what is recorded. */
  version: number;
  clientSource: ClientSource;
  /** When the gateway last registered anew by itself; milliseconds since 1970. */
  registeredAgainAt?: number;
  issuer: string;
  /** The endpoints recorded at discovery; nothing else is ever sent a code, a token or a secret. */
  server: AuthorizationServer;
  client: Client;
  clientAuth: ClientAuth;
  /** Of what `clientAuth` is made, for what must be done when nothing is recorded any more (`clientAuthentication`). */
  authMethod: AuthMethod;
  clientSecret?: Hidden;
  privateKey?: Hidden;
  privateKeyId?: string;
  /** How the token is obtained (RFC 6749 §4.1 or §4.4). */
  grantType: GrantType;
  /** What is shown for it, read when it is needed; undefined: it cannot be read now. Absent: nothing is. */
  assertion?(): Promise<Hidden | undefined>;
  /** Where an identity assertion is exchanged first. */
  idp?: IdentityProvider;
  redirectUri: string;
  /** RFC 8707; goes into authorization, token and refresh requests. Absent: the administrator switched it off. */
  resource?: string;
  scopes: string[];
  /** Tokens are asked for with a key that they are bound to (RFC 9449). */
  proofs: boolean;
  /** What is particular about the provider; absent where nothing is known. */
  facts?: ProviderFacts;
  /** The upstream's; for a server of the same origin. */
  tls?: Tls;
}

/** Who turns an identity assertion into one for the upstream's authorization server (RFC 8693). */
export interface IdentityProvider {
  tokenUrl: string;
  clientId: string;
  clientSecret?: Hidden;
  subjectTokenType: SubjectTokenType;
}
