import type { Hidden, Settings } from "../base/index.ts";
import type { Definition, DefinitionBody } from "./definition.ts";
import { readHeaderValues } from "./per-user-headers.ts";
import type { ToolDefinition, Upstream } from "./upstream.ts";

/** What is needed of an upstream to ask it once, stored or not. */
export type HeaderTarget = Pick<
  Upstream,
  "id" | "name" | "url" | "perUser" | "headers" | "perUserHeaderKeys" | "generation" | "timeoutMs"
>;

/** Lists an upstream's tools with these values; throws `Problem` 422 `headers_refused`, or 502 and 504. relay/ does it. */
export type HeaderVerifier = (
  upstream: HeaderTarget,
  headers: Readonly<Record<string, Hidden>>,
) => Promise<ToolDefinition[]>;

export interface Sample {
  headers: Record<string, Hidden>;
  tools: ToolDefinition[];
}

/**
 * Tries the administrator's sample values (`user_headers`) on the live upstream, before anything is stored. Undefined when
 * none were given. Throws what reading and verifying throw.
 */
export async function verifySample(
  verify: HeaderVerifier,
  settings: Settings,
  definition: Definition & { id: string },
  given: DefinitionBody["user_headers"],
): Promise<Sample | undefined> {
  const { id, name, url, headers: fixed, perUserHeaderKeys, timeoutMs = settings.toolTimeoutMs } = definition;
  if (given === undefined || perUserHeaderKeys.length === 0) return undefined;
  const headers = readHeaderValues(perUserHeaderKeys, given, "user_headers");
  const target = {
    id,
    name,
    url,
    perUser: true,
    headers: fixed,
    perUserHeaderKeys,
    generation: 0,
    timeoutMs,
  };
  return { headers, tools: await verify(target, headers) };
}
