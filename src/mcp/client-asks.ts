import type { KeyedHash } from "../base/index.ts";
import type { ClientAnswer, Notification, UpstreamRequest } from "../relay/index.ts";
import type { Answer } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";
import type { Mailbox } from "./mailbox.ts";
import { code, Refusal } from "./refusal.ts";
import type { NotificationSink } from "./reply.ts";

interface Forwarded {
  id: string;
  answer: ClientAnswer;
}

const withdrawn: ClientAnswer = { error: { code: -32603, message: "The request was withdrawn." } };

/**
 * Requests of ours to older clients, on the stream of the call they belong to. The id names the replica that waits and is
 * bound to caller and session: only they can answer it, wherever the answer arrives.
 */
export class ClientAsks {
  readonly #hash: KeyedHash;
  readonly #mailbox: Mailbox;
  readonly #waiting = new Map<string, (answer: ClientAnswer) => void>();
  #last = 0;

  constructor(hash: KeyedHash, mailbox: Mailbox) {
    this.#hash = hash;
    this.#mailbox = mailbox;
    mailbox.on<Forwarded>("answer", ({ id, answer }) => this.#waiting.get(id)?.(answer));
  }

  /** Asks and waits; how long is the call's business, which aborts `signal`. */
  ask(
    caller: Caller,
    client: Client,
    send: NotificationSink,
    { method, params, signal }: UpstreamRequest,
  ): Promise<ClientAnswer> {
    this.#last += 1;
    const serial = `${this.#mailbox.replica}.${this.#last}`;
    const id = `${serial}.${this.#mark(caller, client, serial)}`;
    return new Promise((resolve) => {
      const done = (answer: ClientAnswer) => {
        this.#waiting.delete(id);
        signal.removeEventListener("abort", leave);
        resolve(answer);
      };
      const leave = () => {
        void send({ method: "notifications/cancelled", params: { requestId: id } });
        done(withdrawn);
      };
      if (signal.aborted) return resolve(withdrawn);
      signal.addEventListener("abort", leave);
      this.#waiting.set(id, done);
      void send({ id, method, ...(params && { params }) } as Notification);
    });
  }

  /** Takes an answer. Throws `Refusal` for one to a request that this caller and session were never asked. */
  async answer(caller: Caller, client: Client, { id, answer }: Answer): Promise<void> {
    const [replica, number, mark] = typeof id === "string" && id.length <= 256 ? id.split(".") : [];
    const serial = `${replica}.${number}`;
    if (client.sessionId === undefined || mark !== this.#mark(caller, client, serial)) {
      throw new Refusal(code.invalidRequest, "This answers no request that this session was asked.");
    }
    if (replica === this.#mailbox.replica) this.#waiting.get(id as string)?.(answer);
    else await this.#mailbox.send(replica!, "answer", { id, answer }, `ask_${id}`);
  }

  #mark(caller: Caller, client: Client, serial: string): string {
    return this.#hash.of("mcp_request", `${caller.binding} ${client.sessionId} ${serial}`);
  }
}
