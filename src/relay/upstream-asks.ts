import type { ClientAnswer, RelayCall } from "./call.ts";
import { RelayFault } from "./fault.ts";
import { isObject, type RpcMessage } from "./message.ts";
import type { Patience } from "./patience.ts";

type Request = Extract<RpcMessage, { kind: "request" }>;

/** However much an upstream asks, one call answers this many of its requests, and this many at once. */
const MAX_ASKS = 64;
const MAX_OPEN = 16;

/** How long an upstream's question may wait for the client and its person. */
const ASK_MS = 10 * 60_000;

/** What an upstream may ask of a client (2025-11-25 "Client Features"). */
const askable: ReadonlySet<string> = new Set(["elicitation/create", "sampling/createMessage", "roots/list"]);

/**
 * The requests an older upstream makes in the middle of one call: `ping` is answered here, what a client declared goes to
 * it, anything else is refused. While one waits for its client, the call waits with it.
 */
export class UpstreamAsks {
  readonly #call: RelayCall;
  readonly #patience: Patience;
  readonly #tell: (answer: { id: Request["id"] } & ClientAnswer) => void;
  readonly #open = new Map<Request["id"], AbortController>();
  #count = 0;

  constructor(
    call: RelayCall,
    patience: Patience,
    tell: (answer: { id: Request["id"] } & ClientAnswer) => void,
  ) {
    this.#call = call;
    this.#patience = patience;
    this.#tell = tell;
  }

  /** Throws `RelayFault` when there is no end to them. */
  take(request: Request): void {
    this.#count += 1;
    if (this.#count > MAX_ASKS) throw new RelayFault("upstream_protocol");
    const { id, method } = request;
    const { onRequest } = this.#call;
    if (method === "ping") {
      this.#tell({ id, result: {} });
      return;
    }
    if (!onRequest || !askable.has(method) || this.#open.size >= MAX_OPEN || this.#open.has(id)) {
      this.#tell({ id, error: { code: -32601, message: "Method not found" } });
      return;
    }
    void this.#ask(request, onRequest);
  }

  async #ask({ id, method, params }: Request, onRequest: NonNullable<RelayCall["onRequest"]>): Promise<void> {
    const withdrawal = new AbortController();
    this.#open.set(id, withdrawal);
    this.#patience.hold(ASK_MS);
    let answer: ClientAnswer;
    try {
      answer = await onRequest({ method, params, signal: withdrawal.signal });
    } catch {
      answer = { error: { code: -32603, message: "The client could not be asked." } };
    }
    this.#patience.release();
    this.#open.delete(id);
    // 2025-11-25 "Cancellation": a request that was withdrawn gets no answer.
    if (!withdrawal.signal.aborted) this.#tell({ id, ...answer });
  }

  /** `notifications/cancelled` of the upstream: it does not want to know any more. */
  withdraw(params: unknown): void {
    if (isObject(params)) this.#open.get(params.requestId ?? null)?.abort();
  }

  /** The call is over; nobody needs to be asked. */
  end(): void {
    for (const withdrawal of this.#open.values()) withdrawal.abort();
  }
}
