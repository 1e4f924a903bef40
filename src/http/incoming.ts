import type { Log, Settings, World } from "../base/index.ts";
import { remoteAddress } from "./remote.ts";
import type { RouteContext } from "./route.ts";

interface IncomingParts {
  request: Request;
  params: Record<string, string>;
  /** The address at the other end of the connection. */
  peer: string | undefined;
  requestId: string;
  world: World;
  settings: Settings;
}

/** What a handler is given. What few handlers look at is made when it is looked at. */
export class IncomingRequest implements RouteContext<unknown> {
  readonly request: Request;
  readonly requestId: string;
  params: Record<string, string>;
  query: unknown;
  body: unknown;
  caller: unknown;
  readonly #parts: IncomingParts;
  #url: URL | undefined;
  #log: Log | undefined;

  constructor(parts: IncomingParts) {
    this.request = parts.request;
    this.requestId = parts.requestId;
    this.params = parts.params;
    this.#parts = parts;
  }

  get url(): URL {
    this.#url ??= new URL(this.request.url);
    return this.#url;
  }

  get log(): Log {
    this.#log ??= this.#parts.world.log.child({ request_id: this.requestId });
    return this.#log;
  }

  get remote(): string {
    const { peer, settings } = this.#parts;
    return remoteAddress(peer, this.request.headers.get("x-forwarded-for"), settings.trustedProxies);
  }
}
