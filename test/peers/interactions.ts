import { text } from "node:stream/consumers";
import type { Context, Interaction, Provider } from "oidc-provider";

export type InteractionMode = "auto" | "page";

export interface InteractionSettings {
  mode: InteractionMode;
  /** Who logs in; in "page" mode what the form suggests. */
  account: string;
  denial?: { error: string; error_description?: string };
}

/** Answers `/interaction/<uid>`: who is it, and may this client have what it asks for. */
export async function answerInteraction(
  provider: Provider,
  ctx: Context,
  { mode, account, denial }: InteractionSettings,
): Promise<void> {
  const interaction = await provider.interactionDetails(ctx.req, ctx.res);
  if (denial) return finish(provider, ctx, denial);
  if (mode === "auto") return finish(provider, ctx, await approve(provider, interaction, account));
  if (ctx.method !== "POST") return showPage(provider, ctx, interaction, account);
  const form = new URLSearchParams(await text(ctx.req));
  if (form.get("decision") !== "allow") return finish(provider, ctx, { error: "access_denied" });
  return finish(provider, ctx, await approve(provider, interaction, form.get("account") || account));
}

async function finish(provider: Provider, ctx: Context, result: Record<string, unknown>): Promise<void> {
  const returnTo = await provider.interactionResult(ctx.req, ctx.res, result);
  ctx.status = 303;
  ctx.set("location", returnTo);
  ctx.body = "";
}

async function approve(
  provider: Provider,
  interaction: Interaction,
  account: string,
): Promise<Record<string, unknown>> {
  const { prompt, params, session, grantId } = interaction;
  if (prompt.name === "login") return { login: { accountId: account } };
  const accountId = session?.accountId ?? account;
  const known = grantId ? await provider.Grant.find(grantId) : undefined;
  const grant = known ?? new provider.Grant({ accountId, clientId: params.client_id });
  // Exactly what is reported missing: anything less and the provider asks for ever.
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  return { consent: { grantId: await grant.save() } };
}

async function showPage(
  provider: Provider,
  ctx: Context,
  { prompt, params, session }: Interaction,
  account: string,
): Promise<void> {
  const client = await provider.Client.find(params.client_id);
  const name = escapeHtml(client?.clientName ?? params.client_id);
  const question =
    prompt.name === "login"
      ? `<label>Account <input name="account" value="${escapeHtml(account)}" autofocus></label>`
      : `<p><b>${name}</b> asks for <code>${escapeHtml(params.scope ?? "")}</code> as ${escapeHtml(session?.accountId ?? "")}.</p>`;
  ctx.type = "html";
  ctx.set("cache-control", "no-store");
  ctx.body = `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Test provider: ${prompt.name}</title>
<body><main><h1>Test provider</h1><form method="post">${question}
<button name="decision" value="allow">${prompt.name === "login" ? "Sign in" : "Allow"}</button>
<button name="decision" value="deny">Cancel</button></form></main></body></html>`;
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
