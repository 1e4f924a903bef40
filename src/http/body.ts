import { JsonFault, Problem, parseStrictJson } from "../base/index.ts";
import type { Route } from "./route.ts";

export const MAX_BODY_BYTES = 1024 * 1024;

/** Reads a body whole, stopping at the limit. Compressed bodies are refused: their size is not what it seems. */
export async function readBody(request: Request, maxBytes = MAX_BODY_BYTES): Promise<Uint8Array> {
  if (request.headers.has("content-encoding")) throw encodedBody();
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw bodyTooLarge(maxBytes);
  if (!request.body) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > maxBytes) throw bodyTooLarge(maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

export function bodyTooLarge(maxBytes: number): Problem {
  const message = `The body is larger than ${maxBytes} bytes. Send less.`;
  return new Problem("too_large", "body_too_large", message);
}

export function encodedBody(): Problem {
  const message = "Send the body without Content-Encoding.";
  return new Problem("unsupported_type", "unsupported_content_encoding", message);
}

/** What the JSON body of a route may be called. */
export function mediaOf({ errors }: Pick<Route, "errors">): readonly string[] {
  return errors === "scim" ? ["application/json", "application/scim+json"] : ["application/json"];
}

/** Strict JSON (attack rule R19). An empty body is `undefined`. */
export async function readJson(
  request: Request,
  { maxBytes, media = ["application/json"] }: { maxBytes?: number; media?: readonly string[] } = {},
): Promise<unknown> {
  const bytes = await readBody(request, maxBytes);
  if (bytes.byteLength === 0) return undefined;
  requireType(request, media);
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    throw new Problem("invalid", "invalid_json", error.message);
  }
}

/** A form; every name at most once (OAuth 2.1 §3.1). */
export async function readForm(request: Request): Promise<Record<string, string>> {
  requireType(request, ["application/x-www-form-urlencoded"]);
  const bytes = await readBody(request);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Problem("invalid", "invalid_request", "The form is not UTF-8.");
  }
  return unrepeated(new URLSearchParams(text));
}

/** Parameters as an object; a repeated one is refused, never first-wins or last-wins, unless it is named `repeatable`. */
export function unrepeated(parameters: URLSearchParams): Record<string, string>;
export function unrepeated(
  parameters: URLSearchParams,
  repeatable: readonly string[] | undefined,
): Record<string, string | string[]>;
export function unrepeated(
  parameters: URLSearchParams,
  repeatable: readonly string[] = [],
): Record<string, string | string[]> {
  const values: Record<string, string | string[]> = Object.create(null);
  for (const name of parameters.keys()) {
    const all = parameters.getAll(name);
    if (all.length > 1 && !repeatable.includes(name)) {
      throw new Problem("invalid", "invalid_request", "A parameter is repeated. Send each one once.", {
        param: name,
      });
    }
    values[name] = all.length > 1 ? all : all[0]!;
  }
  return values;
}

function requireType(request: Request, types: readonly string[]): void {
  const [sent = "", ...parameters] = (request.headers.get("content-type") ?? "").split(";");
  const charset = parameters
    .map((parameter) => parameter.trim().toLowerCase())
    .find((p) => p.startsWith("charset="));
  if (!types.includes(sent.trim().toLowerCase()) || (charset !== undefined && charset !== "charset=utf-8")) {
    throw new Problem("unsupported_type", "unsupported_media_type", `Send the body as ${types[0]} in UTF-8.`);
  }
}
