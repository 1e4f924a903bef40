import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Log, Serials, type Settings, type World } from "../base/index.ts";
import type { DirectContext, Inbound, PlainAnswer } from "./direct.ts";
import { NodeInbound } from "./node-inbound.ts";
import { hostCheck, unknownHost } from "./origin.ts";
import { refused } from "./refuse.ts";
import { remoteAddress } from "./remote.ts";
import type { Route } from "./route.ts";
import { secure } from "./security-headers.ts";

interface Parts {
  world: World;
  settings: Settings;
}

/** The routes whose requests `node:http` hands over as they are. Host check, handler, refusal: as for all others. */
export class DirectRoutes {
  readonly #parts: Parts;
  readonly #isOurHost: (host: string) => boolean;
  readonly #serials: Serials;
  /** By method and path; those with a parameter under the path before it. */
  readonly #exact = new Map<string, Route>();
  readonly #prefixed = new Map<string, { route: Route; param: string }>();

  constructor(routes: readonly Route[], parts: Parts) {
    this.#parts = parts;
    this.#isOurHost = hostCheck(parts.settings);
    this.#serials = new Serials(parts.world, "req");
    for (const route of routes) {
      if (!route.direct) continue;
      const [, prefix, param] = /^([^{]*\/)\{(\w+)\}$/.exec(route.path) ?? [];
      if (prefix === undefined) this.#exact.set(`${route.method} ${route.path}`, route);
      else this.#prefixed.set(`${route.method} ${prefix}`, { route, param: param! });
    }
  }

  /** False: the request is for another route, or its address is written in a way the router has to judge. */
  serve(incoming: IncomingMessage, outgoing: ServerResponse): boolean {
    const { method, url = "" } = incoming;
    const exact = this.#exact.get(`${method} ${url}`);
    if (exact) {
      void this.#answer(exact, {}, incoming, outgoing);
      return true;
    }
    const slash = url.lastIndexOf("/") + 1;
    const found = this.#prefixed.get(`${method} ${url.slice(0, slash)}`);
    const value = url.slice(slash);
    // What is encoded, dotted or has a query takes the long way.
    if (!found || !/^[A-Za-z0-9_-]+$/.test(value)) return false;
    void this.#answer(found.route, { [found.param]: value }, incoming, outgoing);
    return true;
  }

  async #answer(
    route: Route,
    params: Record<string, string>,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
  ): Promise<void> {
    const inbound = new NodeInbound(incoming, outgoing);
    const context = new Direct(this.#parts, inbound, params, this.#serials.next(), incoming);
    let answer: PlainAnswer | Response;
    try {
      if (!this.#isOurHost(incoming.headers.host ?? "")) throw unknownHost();
      answer = await route.direct!(context);
    } catch (error) {
      answer = refused(error, context.requestId, context.log);
      secure(answer.headers, this.#parts.settings);
    }
    try {
      if (answer instanceof Response) await writeResponse(incoming, outgoing, answer);
      else write(incoming, outgoing, answer);
    } catch (error) {
      // The receiver went away in the middle of a stream; there is nobody to tell.
      context.log.debug("request.interrupted", { error });
      outgoing.destroy();
    }
  }
}

class Direct implements DirectContext {
  readonly inbound: Inbound;
  readonly params: Record<string, string>;
  readonly requestId: string;
  readonly #parts: Parts;
  readonly #incoming: IncomingMessage;
  #log: Log | undefined;

  constructor(
    parts: Parts,
    inbound: Inbound,
    params: Record<string, string>,
    requestId: string,
    incoming: IncomingMessage,
  ) {
    this.inbound = inbound;
    this.params = params;
    this.requestId = requestId;
    this.#parts = parts;
    this.#incoming = incoming;
  }

  get log(): Log {
    this.#log ??= this.#parts.world.log.child({ request_id: this.requestId });
    return this.#log;
  }

  get remote(): string {
    const { trustedProxies } = this.#parts.settings;
    const forwarded = this.inbound.headers.get("x-forwarded-for");
    return remoteAddress(this.#incoming.socket.remoteAddress, forwarded, trustedProxies);
  }
}

function write(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { status, headers, body }: PlainAnswer,
): void {
  const length = Buffer.byteLength(body);
  headers["content-length"] = String(length);
  if (!incoming.complete) drain(incoming);
  outgoing.writeHead(status, headers);
  // As many bytes as characters is ASCII: Latin-1 says the same, and goes out with the head in one piece.
  outgoing.end(body, length === body.length ? "latin1" : "utf8");
}

async function writeResponse(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  response: Response,
): Promise<void> {
  const { status, body } = response;
  const headers = Object.fromEntries(response.headers);
  if (body !== null && headers["content-type"] !== "text/event-stream")
    return write(incoming, outgoing, { status, headers, body: await response.text() });
  if (!incoming.complete) drain(incoming);
  outgoing.writeHead(status, headers);
  if (body === null) {
    outgoing.end();
    return;
  }
  outgoing.flushHeaders();
  await pipeline(Readable.fromWeb(body as never), outgoing);
}

const DRAIN_MS = 500;

/** A refusal may come before the body was read: cutting the connection at once would lose it on its way (RFC 9112 §9.6). */
function drain(incoming: IncomingMessage): void {
  const late = setTimeout(() => incoming.destroy(), DRAIN_MS).unref();
  incoming.once("close", () => clearTimeout(late));
  incoming.resume();
}
