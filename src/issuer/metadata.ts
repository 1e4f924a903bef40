import { z } from "zod";
import { slugPattern } from "../access/index.ts";
import type { Settings } from "../base/index.ts";
import { json, ownOrigins, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { DEVICE_GRANT, JWT_BEARER_GRANT, TOKEN_EXCHANGE_GRANT } from "./grant-names.ts";
import type { MachineTrust } from "./machine-config.ts";
import type { IssuerParts } from "./parts.ts";
import { paths } from "./paths.ts";
import { scopesSupported } from "./scope.ts";

/** EMA §6. */
const ID_JAG_PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag";

const slugParams = z.object({ slug: z.string().regex(slugPattern) });
const resourceDocument = z.looseObject({ resource: z.url(), authorization_servers: z.array(z.url()) });
const serverDocument = z.looseObject({
  issuer: z.url(),
  authorization_endpoint: z.url(),
  token_endpoint: z.url(),
  response_types_supported: z.array(z.string()),
});

/**
 * RFC 9728 §2. `origin`: the one of ours under which the client reached us. Whether there is a virtual MCP of this slug is
 * nobody's business before a credential is shown, so the document of every slug is the same.
 */
export function protectedResourceDocument(settings: Settings, origin: string, slug?: string) {
  return {
    resource: `${origin}/mcp${slug === undefined ? "" : `/${slug}`}`,
    authorization_servers: [settings.baseUrl.origin],
    scopes_supported: ["mcp"],
    bearer_methods_supported: ["header"],
    resource_name: "Postern",
  };
}

/** RFC 8414 §2; only what works is named. */
export function authorizationServerDocument({
  settings,
  machines,
}: Pick<IssuerParts, "settings" | "machines">) {
  const issuer = settings.baseUrl.origin;
  const methods = ["none", "client_secret_basic", "client_secret_post"];
  return {
    issuer,
    authorization_endpoint: issuer + paths.authorize,
    token_endpoint: issuer + paths.token,
    registration_endpoint: issuer + paths.register,
    revocation_endpoint: issuer + paths.revoke,
    response_types_supported: ["code"],
    response_modes_supported: ["query"],
    ...(settings.deviceAuthorization
      ? { device_authorization_endpoint: issuer + paths.deviceAuthorization } // RFC 8628 §4
      : {}),
    grant_types_supported: grantTypes(settings, machines),
    ...(machines.issuers.length > 0 ? { authorization_grant_profiles_supported: [ID_JAG_PROFILE] } : {}),
    code_challenge_methods_supported: ["S256"],
    token_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_methods_supported: methods,
    scopes_supported: scopesSupported(settings),
    authorization_response_iss_parameter_supported: true, // RFC 9207 §3
    client_id_metadata_document_supported: true,
  };
}

function grantTypes(settings: Settings, { rules, issuers }: MachineTrust): string[] {
  return [
    "authorization_code",
    ...(settings.grantMaxMs > 0 ? ["refresh_token"] : []),
    ...(settings.deviceAuthorization ? [DEVICE_GRANT] : []),
    ...(rules.length + issuers.length > 0 ? [JWT_BEARER_GRANT] : []),
    ...(rules.length > 0 ? [TOKEN_EXCHANGE_GRANT] : []),
  ];
}

/** Which origin of ours this request reached; behind a proxy that ends TLS the scheme seen here is not the public one. */
function reachedOrigin(settings: Settings, url: URL): string {
  const own = ownOrigins(settings);
  if (own.has(url.origin)) return url.origin;
  return [...own].find((origin) => new URL(origin).host === url.host) ?? settings.baseUrl.origin;
}

/** Every path at which MCP clients look; some give up where one of them is missing (mcp-protocol.md §2.1, §6.1). */
export function metadataRoutes(parts: Pick<IssuerParts, "settings" | "machines">): Route[] {
  const { settings } = parts;
  const resource = (path: string, operationId: string) =>
    document(path, operationId, "Protected resource metadata (RFC 9728)", (url, slug) =>
      protectedResourceDocument(settings, reachedOrigin(settings, url), slug),
    );
  const issuer = (path: string, operationId: string) =>
    document(path, operationId, "Authorization server metadata (RFC 8414)", () =>
      authorizationServerDocument(parts),
    );
  return [
    resource("/.well-known/oauth-protected-resource", "protectedResourceMetadata"),
    resource("/.well-known/oauth-protected-resource/mcp", "protectedResourceMetadataMcp"),
    resource("/.well-known/oauth-protected-resource/mcp/{slug}", "protectedResourceMetadataVirtualMcp"),
    issuer("/.well-known/oauth-authorization-server", "authorizationServerMetadata"),
    issuer("/.well-known/oauth-authorization-server/mcp", "authorizationServerMetadataMcp"),
    issuer("/.well-known/oauth-authorization-server/mcp/{slug}", "authorizationServerMetadataVirtualMcp"),
    issuer("/.well-known/openid-configuration", "openidConfiguration"),
    issuer("/.well-known/openid-configuration/mcp", "openidConfigurationMcp"),
    issuer("/.well-known/openid-configuration/mcp/{slug}", "openidConfigurationVirtualMcp"),
    issuer("/mcp/.well-known/openid-configuration", "openidConfigurationBelowMcp"),
    issuer("/mcp/{slug}/.well-known/openid-configuration", "openidConfigurationBelowVirtualMcp"),
  ];
}

function document(
  path: string,
  operationId: string,
  summary: string,
  make: (url: URL, slug?: string) => object,
): Route {
  const common = {
    method: "GET",
    path,
    operationId,
    summary,
    tag: "discovery",
    access: "public",
    csrf: "none",
    rate: "none",
    errors: "envelope",
    cors: true,
    refuses: [],
    answers: {
      200: {
        description: summary,
        schema: path.includes("protected-resource") ? resourceDocument : serverDocument,
      },
    },
  } as const;
  return path.includes("{slug}")
    ? route({ ...common, params: slugParams, handle: ({ url, params }) => json(make(url, params.slug)) })
    : route({ ...common, handle: ({ url }) => json(make(url)) });
}
