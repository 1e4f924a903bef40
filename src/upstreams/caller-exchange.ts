import type { AuthorizationServer } from "oauth4webapi";
import { chooseResource } from "./choices.ts";
import type { Metadata, RecordedOAuth } from "./oauth-records.ts";
import { givenMethod } from "./registration.ts";
import type { OAuthSettings } from "./upstream.ts";

/**
 * Where callers' tokens are exchanged, as the administrator said. Nothing is looked for: an upstream that could name the
 * endpoint could have its callers' tokens sent anywhere.
 */
export function exchangeAt(oauth: OAuthSettings, url: URL): RecordedOAuth {
  const endpoint = oauth.tokenUrl!;
  const server: AuthorizationServer = { issuer: new URL(endpoint).origin, token_endpoint: endpoint };
  const metadata: Metadata = {
    server,
    authMethod: givenMethod(oauth, server),
    grantType: oauth.grantType,
    privateKeyId: oauth.privateKeyId,
  };
  return {
    issuer: server.issuer,
    resource: resourceOf(oauth, url),
    server: metadata,
    scopes: [...oauth.scopes],
    clientId: oauth.clientId!,
    clientSource: "given",
  };
}

/** RFC 8707 §2, unless something else says whom the token is for: an audience, or the scopes of an on-behalf-of grant. */
function resourceOf(oauth: OAuthSettings, url: URL): string | undefined {
  const isNamed = oauth.audience !== undefined || oauth.grantType === "jwt_bearer";
  return chooseResource(oauth.resource ?? (isNamed ? "" : undefined), undefined, url, undefined);
}
