import { z } from "zod";
import { Problem } from "../base/index.ts";
import type { Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { tokens } from "./answers.ts";
import { authenticateClient, type ProvedClient } from "./client-authentication.ts";
import type { Clients } from "./clients.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import { paths } from "./paths.ts";
import { type Refused, redeemCode } from "./redeem-code.ts";
import { refreshGrant } from "./refresh-grant.ts";
import { revokeToken } from "./revoke-token.ts";
import { type TokenAnswer, tokenResponse } from "./tokens.ts";

/** RFC 6749 §3.2: a parameter without a value counts as omitted. */
const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined);

const clientFields = { client_id: optional, client_secret: optional };
const tokenForm = z.object({
  ...clientFields,
  grant_type: optional,
  code: optional,
  code_verifier: optional,
  redirect_uri: optional,
  refresh_token: optional,
  scope: optional,
  resource: optional,
});
type TokenForm = z.output<typeof tokenForm>;

const revokeForm = z.object({ ...clientFields, token: optional, token_type_hint: optional });

const common = {
  method: "POST",
  tag: "authorization",
  access: "public",
  csrf: "none",
  rate: "token",
  errors: "oauth",
  cors: true,
} as const;

/** The token endpoint and revocation (RFC 6749 §3.2, RFC 7009). */
export function tokenRoutes(parts: IssuerParts, clients: Clients, grants: Grants): Route[] {
  return [
    route({
      ...common,
      path: paths.token,
      operationId: "token",
      summary: "Token endpoint",
      form: tokenForm,
      refuses: [401],
      answers: { 200: { description: "Tokens", schema: tokens } },
      handle: async ({ request, body, requestId }) => {
        const present = presentation(parts, grants, body, requestId);
        const client = await authenticateClient(clients, parts.hash, request, body);
        const result = await present(client);
        if ("error" in result) throw refusal(result);
        return tokenResponse(result);
      },
    }),
    route({
      ...common,
      path: paths.revoke,
      operationId: "revokeToken",
      summary: "Token revocation (RFC 7009)",
      form: revokeForm,
      refuses: [401],
      answers: { 200: { description: "The token is not valid (any more)", media: [] } },
      handle: async ({ request, body, requestId }) => {
        const token = required(body.token, "token");
        const client = await authenticateClient(clients, parts.hash, request, body);
        await revokeToken(parts, grants, { client, token, requestId });
        return new Response(null, { status: 200 });
      },
    }),
  ];
}

/** Checks the form before anything is spent (TK-01), and returns what to do once the client is proved. */
function presentation(
  parts: IssuerParts,
  grants: Grants,
  form: TokenForm,
  requestId: string,
): (client: ProvedClient) => Promise<TokenAnswer | Refused> {
  const { resource, scope } = form;
  switch (form.grant_type) {
    case "authorization_code": {
      const code = required(form.code, "code");
      const verifier = required(form.code_verifier, "code_verifier");
      // RFC 7636 §4.1.
      if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) throw malformed("code_verifier");
      const { redirect_uri: redirectUri } = form;
      return (client) =>
        redeemCode(parts, grants, { client, code, verifier, redirectUri, resource, requestId });
    }
    case "refresh_token": {
      const refreshToken = required(form.refresh_token, "refresh_token");
      return (client) => refreshGrant(parts, grants, { client, refreshToken, scope, resource, requestId });
    }
    case undefined:
      throw malformed("grant_type");
    default:
      throw new Problem(
        "invalid",
        "unsupported_grant_type",
        "Use grant_type=authorization_code or refresh_token.",
        { param: "grant_type" },
      );
  }
}

function required(value: string | undefined, param: string): string {
  if (value === undefined) throw malformed(param);
  return value;
}

function malformed(param: string): Problem {
  return new Problem("invalid", "invalid_request", `${param} is missing or malformed.`, { param });
}

/** One sentence per word: unknown, expired, used and foreign look the same (TK-16). */
function refusal({ error }: Refused): Problem {
  switch (error) {
    case "invalid_grant":
      return new Problem("invalid", error, "The code or token is not valid. Start the authorization again.");
    case "invalid_scope":
      return new Problem("invalid", error, "A refresh cannot ask for more than was granted.", {
        param: "scope",
      });
    case "invalid_target":
      return new Problem("invalid", error, "resource is not the one that was granted.", {
        param: "resource",
      });
  }
}
