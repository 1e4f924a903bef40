import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { RecordedRequest } from "./recorded-request.ts";
import type { Exchange, Handler } from "./scripted-answers.ts";

/** One stream that a scripted upstream keeps open until the test ends it. */
export interface Standing {
  request: RecordedRequest;
  headers: IncomingHttpHeaders;
  res: ServerResponse;
  /** The JSON-RPC id of the request that it answers; null for a GET. */
  id: string | number | null;
  isOpen(): boolean;
  /** Writes a message; `more`: lines of the event beside its data, such as `id: 1`. */
  say(message: object, ...more: string[]): void;
  write(text: string): void;
  end(): void;
  /** Cuts the connection. */
  cut(): void;
}

/** Streams that stay open: `handler` takes GETs and `subscriptions/listen`, the test writes to what it took. */
export class StandingStreams {
  readonly all: Standing[] = [];
  readonly #waiting: { at: number; resolve(standing: Standing): void }[] = [];

  /** The streams that are open now. */
  get open(): Standing[] {
    return this.all.filter((one) => one.isOpen());
  }

  readonly handler: Handler = (exchange) => {
    this.take(exchange);
  };

  /** Acknowledges what was asked for (2026-07-28), and stays. */
  readonly acknowledging: Handler = (exchange) => {
    const { notifications } = exchange.request.body?.params ?? {};
    acknowledge(this.take(exchange), notifications);
  };

  take({ request, res, id }: Exchange): Standing {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.flushHeaders();
    const write = (text: string) => void res.write(text);
    const standing: Standing = {
      request,
      headers: request.headers,
      res,
      id,
      isOpen: () => !res.destroyed && !res.writableEnded,
      say: (message, ...more) => {
        const lines = [...more, `data: ${JSON.stringify({ jsonrpc: "2.0", ...message })}`];
        write(`${lines.join("\n")}\n\n`);
      },
      write,
      end: () => void res.end(),
      cut: () => void res.destroy(),
    };
    this.all.push(standing);
    for (const one of [...this.#waiting]) {
      if (one.at !== this.all.length) continue;
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      one.resolve(standing);
    }
    return standing;
  }

  /** The stream of this number, counted from 1; waits for it. */
  nth(at: number): Promise<Standing> {
    const known = this.all[at - 1];
    if (known) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiting.push({ at, resolve }));
  }
}

export function acknowledge(standing: Standing, notifications: unknown): void {
  const _meta = { "io.modelcontextprotocol/subscriptionId": standing.id };
  standing.say({ method: "notifications/subscriptions/acknowledged", params: { notifications, _meta } });
}

/** A notification with the id of its subscription. */
export function tell(standing: Standing, method: string, params: object = {}): void {
  const _meta = { "io.modelcontextprotocol/subscriptionId": standing.id };
  standing.say({ method, params: { ...params, _meta } });
}
