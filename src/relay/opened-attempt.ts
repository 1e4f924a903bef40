import type { Opened } from "../vault/index.ts";
import type { Attempt } from "./attempt.ts";
import type { RelayCall } from "./call.ts";

/** What authorizes a call: a person's credential, values that are only tried, or nothing but the static headers. */
export type Access =
  | Extract<Opened, { outcome: "ready" }>
  | { outcome: "ready"; credential?: undefined; authorize?(headers: Record<string, string>): void };

export class OpenedAttempt implements Attempt {
  readonly call: RelayCall;
  readonly #access: Access;

  constructor(call: RelayCall, access: Access) {
    this.call = call;
    this.#access = access;
  }

  get credential(): string {
    const { credential } = this.#access;
    return credential ? `${credential.id}:${credential.generation}` : "";
  }

  authorize(headers: Record<string, string>): void {
    const fixed = this.call.upstream.headers;
    for (const name in fixed) headers[name.toLowerCase()] ??= fixed[name]!.reveal();
    this.#access.authorize?.(headers);
  }

  with(call: RelayCall): OpenedAttempt {
    return new OpenedAttempt(call, this.#access);
  }
}
