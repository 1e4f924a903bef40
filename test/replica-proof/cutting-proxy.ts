import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { type LoopbackServer, startLoopbackServer } from "../peers/loopback-server.ts";

/** Stands in front of a gateway and lets answers get lost: the gateway did what it was asked, and nobody hears of it. */
export class CuttingProxy {
  /** Requests by `METHOD path`, in order. */
  readonly passed: string[] = [];
  readonly #listening: LoopbackServer;
  #target = "";
  #cut: string | undefined;

  static async open(): Promise<CuttingProxy> {
    return new CuttingProxy(await startLoopbackServer());
  }

  private constructor(listening: LoopbackServer) {
    this.#listening = listening;
    listening.server.on("request", (req, res) => void this.#pass(req, res).catch(() => res.destroy()));
  }

  get origin(): string {
    return this.#listening.origin;
  }

  /** Where requests go. */
  point(origin: string): void {
    this.#target = origin;
  }

  /** The answer to the next such request (`METHOD path`) is lost. */
  cutNext(step: string): void {
    this.#cut = step;
  }

  /** Whether everything that was to be cut was. */
  get isDone(): boolean {
    return this.#cut === undefined;
  }

  close(): Promise<void> {
    return this.#listening.close();
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await buffer(incoming);
    const step = `${incoming.method} ${incoming.url!.split("?")[0]}`;
    this.passed.push(step);
    const { method, headers } = incoming;
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const forward = request(new URL(incoming.url!, this.#target), { method, headers }, resolve);
      forward.on("error", reject).end(body);
    });
    const content = await buffer(answer);
    if (step === this.#cut) {
      this.#cut = undefined;
      outgoing.destroy();
      return;
    }
    outgoing.writeHead(answer.statusCode!, answer.rawHeaders).end(content);
  }
}
