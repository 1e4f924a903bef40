import type { Rules } from "../access/index.ts";
import type { HeaderReader } from "../http/index.ts";
import type { Notification } from "../relay/index.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";
import { type Filters, readFilters } from "./filters.ts";

/** What a listener's lists came to, each as a digest. */
export interface Seen {
  tools: string;
  prompts: string;
  resources: string;
}

export type ListKind = keyof Seen;
export const listKinds: readonly ListKind[] = ["tools", "prompts", "resources"];

/** Whoever keeps a stream open to hear of changes, and what there is to tell. */
export class Listener {
  caller: Caller;
  client: Client;
  /** What the stream was opened with: whoever it proved, and what it narrows. */
  readonly headers: HeaderReader;
  readonly slug: string | undefined;
  readonly filters: Filters;
  /** Lists whose changes it hears of. */
  readonly wants: ReadonlySet<ListKind>;
  /** Resources it follows, by the URIs it calls them by. */
  uris: ReadonlySet<string>;
  /** Whose subscriptions those are; a client of 2026-07-28 has them in its request, and no session. */
  session: string | undefined;
  /** Upstreams at which the caller has a usable account of its own. */
  connected: ReadonlySet<string> = new Set();
  rules: Rules | undefined;
  /** When they are others by themselves, milliseconds since 1970. */
  rulesUntil = Number.POSITIVE_INFINITY;
  seen: Seen | undefined;
  /** Something changed that may concern it; `isRuleDue`: what its caller may use, too. */
  isDue = false;
  isRuleDue = true;
  /** On the process's clock: since when, when something did last, and not before when it is told again. */
  dueSince = 0;
  dueAgain = 0;
  notBefore = 0;
  /** Told, but perhaps before every replica could show it: told once more. */
  retell: readonly ListKind[] = [];
  /** Nobody reads, or will. */
  isGone = false;
  /** Never waits: who does not read loses the stream. */
  send: (notification: Notification) => void = () => {};

  constructor(given: {
    caller: Caller;
    client: Client;
    headers: HeaderReader;
    wants?: Iterable<ListKind>;
    uris?: Iterable<string>;
  }) {
    this.caller = given.caller;
    this.client = given.client;
    this.headers = given.headers;
    this.slug = given.caller.virtualMcp?.slug;
    this.filters = readFilters(given.headers);
    this.wants = new Set(given.wants ?? listKinds);
    this.uris = new Set(given.uris);
    this.session = given.client.session;
  }
}
