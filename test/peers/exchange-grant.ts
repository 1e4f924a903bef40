import { type Context, errors, type Provider } from "oidc-provider";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const PARAMETERS = [
  "subject_token",
  "subject_token_type",
  "requested_token_type",
  "audience",
  "scope",
  "resource",
];

/** Whose token it is; undefined: it is nobody's that counts here. */
export type SubjectOf = (token: string) => Promise<string | undefined>;

/**
 * Lets clients exchange somebody's token for an access token of this provider, for one resource (RFC 8693 §2). `resourceOf`:
 * what the provider knows of a resource.
 */
export function offerExchange(
  provider: Provider,
  subjectOf: SubjectOf,
  resourceOf: (resource: string) => Record<string, unknown>,
): void {
  const exchange = async (ctx: Context) => {
    const { params = {}, client } = ctx.oidc ?? {};
    const { subject_token: subject, subject_token_type: type, resource, scope } = params;
    if (typeof subject !== "string" || typeof resource !== "string" || type !== ACCESS_TOKEN)
      throw new errors.InvalidRequest("one subject token and one resource");
    const accountId = await subjectOf(subject);
    if (accountId === undefined) throw new errors.InvalidGrant("the subject token does not count here");
    const server = new provider.ResourceServer(resource, resourceOf(resource));
    const token = new provider.AccessToken({
      accountId,
      client,
      scope: scope ?? server.scope,
      gty: "exchange",
    });
    token.resourceServer = server;
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: ACCESS_TOKEN,
      token_type: token.tokenType,
      expires_in: token.expiration,
      scope: token.scope,
    };
  };
  provider.registerGrantType(TOKEN_EXCHANGE, exchange, PARAMETERS, ["resource", "audience"]);
}
