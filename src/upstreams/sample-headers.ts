import type { Hidden } from "../base/index.ts";
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
 * Tries an administrator's header values on the live upstream, before anything is stored. Throws what reading and
 * verifying throw. `at`: the field they came in.
 */
export async function verifySample(
  verify: HeaderVerifier,
  target: HeaderTarget,
  given: Readonly<Record<string, string>>,
  at: string,
): Promise<Sample> {
  const headers = readHeaderValues(target.perUserHeaderKeys, given, at);
  return { headers, tools: await verify(target, headers) };
}
