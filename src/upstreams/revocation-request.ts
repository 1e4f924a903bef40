import type { RevocationCall } from "./profile.ts";

export interface RevocationTokens {
  clientId: string;
  clientSecret?: string;
  accessToken: string;
  refreshToken?: string;
}

/** One HTTP request, as `World.outbound.fetch` takes it. */
export interface RevocationHttpRequest {
  url: string;
  method: "POST" | "DELETE";
  headers: Record<string, string>;
  body?: string;
}

/**
 * The request by which a provider with a way of its own is told that tokens shall end. `undefined`: it needs something
 * that we do not have (a refresh token, a client secret), so there is nothing to say.
 */
export function revocationRequest(
  rule: RevocationCall,
  tokens: RevocationTokens,
): RevocationHttpRequest | undefined {
  const values: Record<string, string | undefined> = {
    client_id: tokens.clientId,
    access_token: tokens.accessToken,
    refresh_token: tokens.refreshToken,
    token: tokens.refreshToken ?? tokens.accessToken,
  };
  const url = filled(rule.url, values, encodeURIComponent);
  const members = membersOf(rule, values);
  const authorization = authorizationOf(rule, tokens);
  if (url === undefined || members === undefined || authorization === undefined) return undefined;
  if (rule.authentication === "client_secret_post") {
    members.client_id = tokens.clientId;
    members.client_secret = tokens.clientSecret!;
  }
  const headers: Record<string, string> = { accept: "application/json", ...rule.headers, ...authorization };
  if (rule.body === undefined) return { url, method: rule.method, headers };
  headers["content-type"] = rule.body === "json" ? "application/json" : "application/x-www-form-urlencoded";
  const body = rule.body === "json" ? JSON.stringify(members) : new URLSearchParams(members).toString();
  return { url, method: rule.method, headers, body };
}

function membersOf(
  rule: RevocationCall,
  values: Record<string, string | undefined>,
): Record<string, string> | undefined {
  const members: Record<string, string> = {};
  for (const [name, template] of Object.entries(rule.members ?? {})) {
    const value = filled(template, values, (text) => text);
    if (value === undefined) return undefined;
    members[name] = value;
  }
  return members;
}

function authorizationOf(
  { authentication }: RevocationCall,
  { clientId, clientSecret, accessToken }: RevocationTokens,
): Record<string, string> | undefined {
  if (authentication === "none") return {};
  if (authentication === "bearer") return { authorization: `Bearer ${accessToken}` };
  if (clientSecret === undefined) return undefined;
  if (authentication === "client_secret_post") return {};
  // RFC 6749 §2.3.1: both are form-encoded first.
  const pair = [clientId, clientSecret].map((text) => encodeURIComponent(text)).join(":");
  return { authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}

function filled(
  template: string,
  values: Record<string, string | undefined>,
  encode: (text: string) => string,
): string | undefined {
  let isWhole = true;
  const text = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) isWhole = false;
    return encode(value ?? "");
  });
  return isWhole ? text : undefined;
}
