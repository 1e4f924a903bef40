import { Agent, fetch as fetchWith } from "undici";
import { hostAndPort } from "./address.ts";
import { readBounded } from "./bounded-body.ts";
import { guardedConnect, type Resolve, resolveName } from "./guarded-connect.ts";
import { TlsAgents } from "./guarded-tls.ts";
import type {
  EgressPolicy,
  Outbound,
  OutboundAnswer,
  OutboundFetchInit,
  OutboundRequest,
} from "./outbound.ts";
import { OutboundError, outboundFailure } from "./outbound-error.ts";
import { type Prover, proverOf } from "./prover.ts";
import { StreamedAnswer } from "./streamed-answer.ts";
import type { Tls } from "./tls.ts";

export interface OutboundOptions {
  /** Exact `host:port` entries as `parseAllowList` returns them; only these may be private, or spoken to over http. */
  allow: Record<EgressPolicy, readonly string[]>;
  /** All addresses of a name. Default: the operating system's resolver. */
  resolve?: Resolve;
  /** Milliseconds for name resolution, TCP and TLS together. Default 5 000. */
  connectTimeoutMs?: number;
}

/** One policy's way out. A connection pooled for one policy never serves the other. */
interface Lane {
  agent: Agent;
  /** The same for those who speak TLS in a way of their own. */
  tlsAgents: TlsAgents;
  allowed: ReadonlySet<string>;
  targets: WeakMap<URL, Target>;
}

interface Target {
  origin: string;
  path: string;
}

/** Streams that stay open, to one origin. */
const STANDING_CONNECTIONS = 1_024;

/** Opens the one way out of the process. `HTTP_PROXY` and its kin are not read: a proxy would resolve names unchecked. */
export function openOutbound(options: OutboundOptions): Outbound {
  const standing = openLane("admin", options, STANDING_CONNECTIONS);
  const lanes = { admin: openLane("admin", options), stranger: openLane("stranger", options) };
  return {
    // Fails closed: who does not say whose address it is gets the stranger's rules.
    fetch: async (url, init = {}) => guardedFetch(lanes[init.policy ?? "stranger"], toUrl(url), init),
    request: (url, request) => guardedRequest(request.standing ? standing : lanes.admin, url, request),
    isNamed: (url) => lanes.admin.allowed.has(hostAndPort(url)),
    drop: (tls) => {
      for (const { tlsAgents } of [lanes.admin, standing]) tlsAgents.drop(tls);
    },
    close: async () => {
      await Promise.all(
        [...Object.values(lanes), standing].flatMap(({ agent, tlsAgents }) => [
          agent.destroy(),
          tlsAgents.destroy(),
        ]),
      );
    },
  };
}

function openLane(policy: EgressPolicy, options: OutboundOptions, most?: number): Lane {
  const allowed = new Set(options.allow[policy]);
  const idle = policy === "admin" ? 30_000 : 1_000;
  const { resolve = resolveName, connectTimeoutMs = 5_000 } = options;
  const settings = {
    allowH2: false,
    pipelining: 1,
    connections: most ?? (policy === "admin" ? 256 : 8),
    maxHeaderSize: 16 * 1024,
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
    keepAliveTimeout: idle,
    // A server's Keep-Alive hint must not hold our sockets longer.
    keepAliveMaxTimeout: 2 * idle,
  };
  const open = (tls?: Tls) =>
    new Agent({ ...settings, connect: guardedConnect(allowed, resolve, connectTimeoutMs, tls) });
  return { agent: open(), tlsAgents: new TlsAgents(open), allowed, targets: new WeakMap() };
}

/** A TLS configuration is for the origin it was given for: its certificate and its trust go nowhere else. */
function agentFor(lane: Lane, origin: string, tls: Tls | undefined): Agent {
  return tls !== undefined && tls.origin === origin ? lane.tlsAgents.get(tls) : lane.agent;
}

function toUrl(url: string | URL): URL {
  const parsed = typeof url === "string" ? URL.parse(url) : url;
  if (parsed === null) throw new OutboundError("refused");
  return parsed;
}

function checkUrl(lane: Lane, url: URL): void {
  if (url.username !== "" || url.password !== "") throw new OutboundError("refused");
  if (url.protocol === "https:") return;
  if (url.protocol !== "http:" || !lane.allowed.has(hostAndPort(url))) throw new OutboundError("refused");
}

/** What is thrown in here rejects. */
function guardedRequest(lane: Lane, url: URL, request: OutboundRequest): Promise<OutboundAnswer> {
  return new Promise((settle, reject) => {
    const { origin, path } = targetOf(lane, url);
    const { method, headers, body, signal, headersTimeoutMs, bodyTimeoutMs } = request;
    if (signal?.aborted) throw new OutboundError("aborted");
    const prover = proverOf(headers);
    if (prover) headers.dpop = prover.prove({ method, url, body });
    const resolve = prover ? heeding(prover, origin, settle) : settle;
    const answer = new StreamedAnswer(signal, resolve, reject);
    agentFor(lane, origin, request.tls).dispatch(
      { origin, path, method, headers, body, headersTimeout: headersTimeoutMs, bodyTimeout: bodyTimeoutMs },
      answer,
    );
  });
}

/** RFC 9449 §8.2: any answer may bring the nonce of the next proof. */
function heeding(prover: Prover, origin: string, settle: (answer: OutboundAnswer) => void): typeof settle {
  return (answer) => {
    prover.heed(origin, answer.headers["dpop-nonce"]);
    settle(answer);
  };
}

/** What a URL comes to, judged once for each URL object: callers keep theirs and never change it. */
function targetOf(lane: Lane, url: URL): Target {
  const known = lane.targets.get(url);
  if (known) return known;
  checkUrl(lane, url);
  const target = { origin: url.origin, path: url.pathname + url.search };
  lane.targets.set(url, target);
  return target;
}

async function guardedFetch(lane: Lane, url: URL, init: OutboundFetchInit): Promise<Response> {
  const ending = new AbortController();
  const late = setTimeout(() => ending.abort(new OutboundError("timeout")), init.timeoutMs ?? 10_000);
  const cancel = () => ending.abort(outboundFailure(init.signal?.reason));
  init.signal?.addEventListener("abort", cancel, { once: true });
  if (init.signal?.aborted) cancel();
  try {
    return await follow(lane, url, init, ending.signal);
  } catch (error) {
    throw ending.signal.aborted ? ending.signal.reason : outboundFailure(error);
  } finally {
    clearTimeout(late);
    init.signal?.removeEventListener("abort", cancel);
  }
}

async function follow(
  lane: Lane,
  start: URL,
  init: OutboundFetchInit,
  signal: AbortSignal,
): Promise<Response> {
  const method = init.method ?? "GET";
  let headers = new Headers(init.headers);
  let url = start;
  const credentials = headers.has("authorization") || headers.has("cookie");
  let hops = method === "GET" && !credentials ? (init.redirects ?? 0) : 0;
  for (;;) {
    checkUrl(lane, url);
    const answer = await fetchWith(url, {
      method,
      headers: [...headers],
      body: init.body,
      signal,
      redirect: "manual",
      dispatcher: agentFor(lane, url.origin, init.tls),
    });
    const next = hops-- > 0 ? redirectTarget(answer.status, answer.headers.get("location"), url) : undefined;
    if (next === undefined) {
      const body = await readBounded(answer.body, init.maxBytes ?? 1024 * 1024);
      return buffered(url, answer, body);
    }
    await answer.body?.cancel();
    if (next.origin !== url.origin) headers = publicHeaders(headers);
    url = next;
  }
}

/** Where a GET goes next, if anywhere. Never from https to http, allow-listed or not. */
export function redirectTarget(status: number, location: string | null, from: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status) || location === null) return undefined;
  const next = URL.parse(location, from.href);
  if (next === null) throw new OutboundError("protocol");
  if (from.protocol === "https:" && next.protocol !== "https:") throw new OutboundError("refused");
  return next;
}

/** Another origin learns nothing a caller may have meant for the first one: an API key has any header name. */
function publicHeaders(headers: Headers): Headers {
  const kept = ["accept", "accept-language", "user-agent", "mcp-protocol-version"];
  return new Headers([...headers].filter(([name]) => kept.includes(name)));
}

function buffered(
  url: URL,
  answer: { status: number; statusText: string; headers: Iterable<[string, string]> },
  body: Uint8Array<ArrayBuffer>,
): Response {
  const headers = new Headers([...answer.headers]);
  // The body is decoded and whole; these described the one on the wire.
  for (const name of ["content-encoding", "content-length", "transfer-encoding"]) headers.delete(name);
  if (answer.status < 200 || answer.status > 599) throw new OutboundError("protocol");
  const empty = [204, 205, 304].includes(answer.status);
  const { status, statusText } = answer;
  const response = new Response(empty ? null : body, { status, statusText, headers });
  Object.defineProperty(response, "url", { value: url.href });
  return response;
}
