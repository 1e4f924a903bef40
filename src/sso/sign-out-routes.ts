import { z } from "zod";
import type { Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { SsoParts } from "./parts.ts";
import { oidcProviderOf, providerParams } from "./routes.ts";
import { backChannelSignOut } from "./sign-out.ts";

/** Where providers tell us that somebody signed out there (OIDC Back-Channel Logout 1.0 §2.5). */
export function backChannelRoutes(parts: SsoParts): Route[] {
  return [
    route({
      method: "POST",
      path: "/login/sso/{id}/backchannel-logout",
      operationId: "backChannelLogout",
      summary: "A provider says that a person signed out there",
      tag: "Sign-in",
      access: "public",
      csrf: "none",
      rate: "token",
      errors: "oauth",
      params: providerParams,
      form: z.object({ logout_token: z.string().min(1).max(16_384) }),
      refuses: [404, 503],
      answers: { 200: { description: "Their sessions here have ended", media: [] } },
      handle: async ({ params, body, requestId, log }) => {
        const provider = oidcProviderOf(parts, params.id);
        await backChannelSignOut(parts, provider, body.logout_token, requestId);
        log.info("sso.signed_out_by_provider", { provider: provider.id });
        return new Response(null, { status: 200 });
      },
    }),
  ];
}
