import { z } from "zod";
import type { Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { tokens } from "./answers.ts";
import { authenticateClient } from "./client-authentication.ts";
import type { Clients } from "./clients.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import { paths } from "./paths.ts";
import { refusal } from "./refusal.ts";
import { revokeToken } from "./revoke-token.ts";
import {
  clientFields,
  optional,
  type Presentation,
  presentation,
  required,
  type TokenParts,
  type TokenRequest,
  tokenForm,
} from "./token-grants.ts";
import { tokenResponse } from "./tokens.ts";

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
  const with_: TokenParts = { parts, clients, grants };
  return [
    route({
      ...common,
      path: paths.token,
      operationId: "token",
      summary: "Token endpoint",
      form: tokenForm,
      refuses: [401, 503],
      answers: { 200: { description: "Tokens", schema: tokens } },
      handle: async ({ request, body, requestId, log }) => {
        const token = { request, form: body, requestId, log };
        const result = await present(with_, token, presentation(with_, token));
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

async function present(
  { parts, clients }: TokenParts,
  { request, form }: TokenRequest,
  presented: Presentation,
): ReturnType<Presentation["present"]> {
  const prove = (documents = false) => authenticateClient(clients, parts.hash, request, form, { documents });
  if (presented.client === "required") return presented.present(await prove(presented.documents));
  if (request.headers.has("authorization") || form.client_secret !== undefined) await prove();
  return presented.present();
}
