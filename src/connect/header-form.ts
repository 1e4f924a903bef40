import { Problem } from "../base/index.ts";
import { redirect } from "../http/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { fieldPrefix } from "./header-page.ts";
import { submitHeaders } from "./header-store.ts";
import type { Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";

export interface HeaderForm {
  parts: ConnectParts;
  link: Link;
  upstream: Upstream;
  form: Readonly<Record<string, string | undefined>>;
  /** The form's own page, to which a failed form comes back. */
  here: string;
  /** Where a good one leads. */
  done: string;
  /** Who submits, for the audit line. */
  actor: string;
}

/** Takes what a header page posted. What the person can mend comes back to the page; the link stays as it was. */
export async function takeHeaderForm(taken: HeaderForm): Promise<Response> {
  const { parts, link, upstream, form, here, done, actor } = taken;
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(form)) {
    if (value !== undefined && name.startsWith(fieldPrefix)) given[name.slice(fieldPrefix.length)] = value;
  }
  try {
    await submitHeaders(parts, { link, upstream, given, actor });
  } catch (error) {
    const code = mendable(error);
    if (code === undefined) throw error;
    const { param } = error as Problem;
    const back = new URL(here, parts.settings.baseUrl);
    back.searchParams.set("error", code);
    if (param?.startsWith("headers.")) back.searchParams.set("field", param.slice("headers.".length));
    return redirect(back.pathname + back.search);
  }
  return redirect(done);
}

function mendable(error: unknown): string | undefined {
  if (!(error instanceof Problem)) return undefined;
  if (error.kind === "upstream" || error.kind === "upstream_timeout") return "upstream_unavailable";
  const known = ["headers_missing", "invalid_header", "headers_refused", "mcp_client_changed"];
  return known.includes(error.code) ? error.code : undefined;
}
