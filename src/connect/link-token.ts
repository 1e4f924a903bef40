import { newSecret } from "../base/index.ts";
import { cookie, cookieName, readCookie } from "../http/index.ts";
import { LINK_MS, type Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";

/*
 * The one-time token of a link (contract section 6, `mcp_enable_temp_token_auth`). It stands in the fragment, which no
 * browser sends to a server and no log sees; the page's script hands it over. Once, then this browser has a cookie of the
 * link and nobody else can use the token again.
 */

/** Runs on pages of links that were made with a token, and is the only script there. Without it the page asks as ever. */
export const tokenScript = `
const token = new URLSearchParams(location.hash.slice(1)).get("t");
if (token) {
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.getElementById("link-token");
  form.elements.t.value = token;
  form.submit();
}
`;

export function tokenHash(parts: Pick<ConnectParts, "hash">, token: string): string {
  return parts.hash.of("link_token", token);
}

/** Whether the page of this link waits for a token. */
export function takesToken(parts: Pick<ConnectParts, "settings">, { owner, data }: Link): boolean {
  return (
    parts.settings.tempTokenAuth && data.token === true && (owner.mode === "vk" || owner.mode === "session")
  );
}

/** Spends a token; the cookie by which this browser may finish the link, or undefined when it was not good. */
export async function spendToken(
  parts: Pick<ConnectParts, "world" | "database" | "hash" | "settings">,
  link: Link,
  token: string,
): Promise<[string, string] | undefined> {
  if (!takesToken(parts, link)) return undefined;
  const now = parts.world.now().getTime();
  const browser = newSecret(parts.world);
  const spent = await parts.database.db
    .updateTable("flows")
    .set({ handle_hash: null, browser_hash: parts.hash.of("flow_cookie", browser) })
    .where("id", "=", link.id)
    .where("handle_hash", "=", tokenHash(parts, token))
    .where("ended_at", "is", null)
    // A trip to the provider may keep the link longer; the token never lives longer than this.
    .where("created_at", ">", now - LINK_MS)
    .where("expires_at", ">", now)
    .executeTakeFirst();
  if (spent.numUpdatedRows === 0n) return undefined;
  const name = cookieName("flow", parts.settings, link.id);
  return cookie(name, browser, LINK_MS / 1000, parts.settings);
}

/** Whether this browser spent the token of this link. */
export function spentHere(
  parts: Pick<ConnectParts, "hash" | "settings">,
  request: Request,
  link: Link,
): boolean {
  if (link.browserHash === undefined || !takesToken(parts, link)) return false;
  const value = readCookie(request, cookieName("flow", parts.settings, link.id));
  return value !== undefined && parts.hash.of("flow_cookie", value) === link.browserHash;
}
