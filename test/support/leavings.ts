import { existsSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { DatabaseSync } from "node:sqlite";
import { type Log, openLog } from "../../src/base/index.ts";
import type { Application } from "../../src/listen.ts";
import { knownSecrets } from "./known-secrets.ts";
import { type Found, SecretScanner } from "./secret-scanner.ts";

/**
 * What gateways of a test leave behind, held against every secret there was: database images with their journals when
 * they are closed, log lines from debug up, pages, refusals and headers as they went out, metrics. A test in which a
 * secret is found fails at its end (secret-scan.ts).
 */
const findings: string[] = [];
const lines: string[] = [];
let waiting = 0;
let scanner: { of: number; one: SecretScanner } | undefined;

const MOST_WAITING = 4_000_000;
const MOST_KEPT_OF_A_BODY = 1_000_000;

const examinedBytes = new Map<string, number>();

/** How many bytes of a place (as `examine` is told it, or the first words of that) were examined in this test file. */
export function examined(place: string): number {
  let sum = 0;
  for (const [where, size] of examinedBytes) if (where.startsWith(place)) sum += size;
  return sum;
}

/** Holds these bytes, or this text, against the secrets known by now; `where` is told when one is found. */
export function examine(where: string, content: Uint8Array | string): void {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  examinedBytes.set(where, (examinedBytes.get(where) ?? 0) + bytes.length);
  for (const { secret, form, near } of currentScanner().find(bytes)) {
    findings.push(`${where}: ${secret}, ${form}, near «${near}»`);
  }
}

/** What was found since the last time; empties it. */
export function takeFindings(): string[] {
  examineLines();
  return findings.splice(0);
}

/** Throws when a secret was found since the last time. */
export function assertNoSecretLeft(): void {
  const found = takeFindings();
  if (found.length > 0) throw new Error(`Secrets where none may be:\n  ${[...new Set(found)].join("\n  ")}`);
}

/** Everything, from debug up, to be examined; nothing of it is printed. */
export function watchedLog(): Log {
  return openLog("debug", {
    write: (line) => {
      lines.push(line);
      waiting += line.length;
      if (waiting > MOST_WAITING) examineLines();
    },
  });
}

/** The application with an eye on what it answers where no secret may be: every page, every refusal, every header. */
export function watched(application: Application): Application {
  return {
    direct: (incoming, outgoing) => {
      watch(incoming, outgoing);
      return application.direct(incoming, outgoing);
    },
    fetch: (request, bindings) => application.fetch(request, bindings),
    closeStreams: () => application.closeStreams?.(),
  };
}

function currentScanner(): SecretScanner {
  const known = knownSecrets();
  if (scanner?.of !== known.size) scanner = { of: known.size, one: new SecretScanner(known) };
  return scanner.one;
}

function examineLines(): void {
  if (lines.length === 0) return;
  const text = lines.join("");
  lines.length = 0;
  waiting = 0;
  examine("the log", text);
}

/** Headers that carry a secret to the browser that it is for: RFC 6265 §4.1, RFC 6749 §4.1.2. */
const CARRIERS = new Set(["set-cookie", "location"]);

function watch(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const chunks: Buffer[] = [];
  let size = 0;
  const keep = (chunk: unknown): void => {
    if (typeof chunk !== "string" && !(chunk instanceof Uint8Array)) return;
    size += chunk.length;
    if (size <= MOST_KEPT_OF_A_BODY) chunks.push(Buffer.from(chunk as string));
  };
  const { write, end, writeHead } = outgoing;
  let head: readonly unknown[] = [];
  outgoing.writeHead = function (this: ServerResponse, ...given: unknown[]) {
    head = given;
    return writeHead.apply(this, given as never);
  } as never;
  outgoing.write = function (this: ServerResponse, ...given: unknown[]) {
    keep(given[0]);
    return write.apply(this, given as never);
  } as never;
  outgoing.end = function (this: ServerResponse, ...given: unknown[]) {
    keep(given[0]);
    const ended = end.apply(this, given as never);
    examineAnswer(`${incoming.method} ${incoming.url?.split("?")[0]}`, outgoing, head, chunks);
    return ended;
  } as never;
}

function examineAnswer(
  request: string,
  outgoing: ServerResponse,
  head: readonly unknown[],
  chunks: Buffer[],
): void {
  const status = outgoing.statusCode;
  const headers = headersOf(outgoing, head);
  for (const [name, value] of headers) {
    if (!CARRIERS.has(name)) examine(`the header ${name} of ${request} (${status})`, value);
  }
  const isPage = headers.some(([name, value]) => name === "content-type" && value.includes("text/html"));
  if (status >= 400 || isPage) examine(`the answer to ${request} (${status})`, Buffer.concat(chunks));
}

/** Those set before and those given with the status, which Node keeps apart. */
function headersOf(outgoing: ServerResponse, head: readonly unknown[]): [name: string, value: string][] {
  const given = head.find((one) => typeof one === "object" && one !== null) ?? {};
  const pairs = Array.isArray(given)
    ? Array.isArray(given[0])
      ? given
      : Array.from({ length: given.length / 2 }, (_, at) => [given[2 * at], given[2 * at + 1]])
    : Object.entries(given);
  return [...Object.entries(outgoing.getHeaders()), ...pairs].map(([name, value]) => [
    String(name).toLowerCase(),
    [value].flat().join("\n"),
  ]);
}

const close = DatabaseSync.prototype.close;
DatabaseSync.prototype.close = function (this: DatabaseSync): void {
  examineSqlite(this);
  close.call(this);
};

/** The whole image, pages that are free again included, and the files beside it before closing tidies them away. */
function examineSqlite(database: DatabaseSync): void {
  const file = database.location();
  examine(`the database ${file === null ? "in memory" : "file"}`, database.serialize());
  if (file === null) return;
  for (const suffix of ["", "-wal", "-shm", "-journal"]) {
    if (existsSync(file + suffix)) examine(`the file <database>${suffix}`, readFileSync(file + suffix));
  }
}

export type { Found };
