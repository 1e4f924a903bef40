import { accountLabel, Problem } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import type { Caller } from "./caller.ts";
import type { Target } from "./catalog.ts";

export const ACCOUNTS_HEADER = "x-bf-mcp-accounts";

/**
 * Which of the caller's accounts a call uses, the nearest word first: the tool's name, the request's header, the virtual
 * MCP. Undefined: the default. Throws 400 `invalid_account` for a header that cannot be read.
 */
export function accountFor(
  entry: Target,
  call: { caller: Caller; headers: HeaderReader },
): string | undefined {
  const { upstream, account } = entry;
  if (!upstream.perUser) return undefined;
  // A task is with the account that it was made with.
  if (entry.about) return account;
  const header = call.headers.get(ACCOUNTS_HEADER);
  const chosen = header === null ? undefined : readAccounts(header).get(upstream.name);
  return account ?? chosen ?? call.caller.virtualMcp?.accounts.get(upstream.id);
}

/** Throws what `accountFor` would throw of these headers. */
export function checkAccounts(headers: HeaderReader): void {
  const header = headers.get(ACCOUNTS_HEADER);
  if (header !== null) readAccounts(header);
}

/** `upstream=label, other=label2`. Names of other upstreams are nobody's mistake: a client sends one header to all. */
export function readAccounts(header: string): ReadonlyMap<string, string> {
  const chosen = new Map<string, string>();
  for (const part of header.split(",")) {
    const pair = part.trim();
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const [name, label] = [pair.slice(0, Math.max(equals, 0)).trim(), pair.slice(equals + 1).trim()];
    const known = chosen.get(name);
    if (name === "" || !accountLabel.test(label) || (known !== undefined && known !== label))
      throw unreadable();
    chosen.set(name, label);
  }
  return chosen;
}

function unreadable(): Problem {
  return new Problem(
    "invalid",
    "invalid_account",
    `Send ${ACCOUNTS_HEADER} as name=label, one per service, parted by commas; a label has 1 to 40 lower-case letters, digits, hyphens and underscores.`,
    { param: ACCOUNTS_HEADER },
  );
}
