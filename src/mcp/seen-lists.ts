import type { Rules } from "../access/index.ts";
import { sha256, stringifyJson } from "../base/index.ts";
import { isWaiting } from "./auth-required.ts";
import type { View } from "./connect-tools.ts";
import { featureList } from "./feature-lists.ts";
import type { Listener, Seen } from "./listener.ts";
import type { Offer, Offers } from "./offers.ts";
import type { McpParts } from "./parts.ts";
import type { PlainNames } from "./plain-names.ts";
import { type Standing, Standings } from "./standings.ts";

interface Listed {
  modern: object;
  legacy: object;
}

interface Parts {
  mcp: Pick<McpParts, "vault" | "upstreams" | "access">;
  offers: Offers;
  plain: PlainNames;
  /** What `tools/list` shows; the same function, so that what is told is what is seen. */
  tools(view: View): Promise<readonly Listed[]>;
}

const MOST_VIEWS = 20_000;

/**
 * What listeners would read in their lists now, as digests. Who may use the same things shares the work: a change costs as
 * much as there are different views, not as there are streams.
 */
export class SeenLists {
  readonly standings: Standings;
  readonly #parts: Parts;
  readonly #views = new Map<string, Promise<string>>();
  readonly #offerByRules = new Map<string, Offer>();
  #version = -1;
  readonly #offers = new WeakMap<Offer, Map<string, Omit<Seen, "tools">>>();
  readonly #digests = new WeakMap<object, string>();
  readonly #numbers = new WeakMap<object, number>();
  readonly #rules = new WeakMap<Rules, string>();
  #lastNumber = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.standings = new Standings(parts.mcp);
  }

  /** Brings the listener's own state up to date and returns its lists. */
  async of(listener: Listener): Promise<Seen> {
    const { mcp } = this.#parts;
    const { caller } = listener;
    if (listener.isRuleDue || !listener.rules) {
      listener.isRuleDue = false;
      listener.rules = await mcp.access.rulesFor(caller);
      listener.rulesUntil = mcp.access.validUntil(caller);
    }
    const { rules } = listener;
    const standing = await this.standings.of(caller.owner);
    listener.connected = new Set(
      [...standing].flatMap(([id, { status, orphaned }]) => (status === "active" && !orphaned ? [id] : [])),
    );
    const waiting: View["waiting"] = (upstreams) => upstreams.filter(({ id }) => isWaiting(standing.get(id)));
    const { client, filters } = listener;
    const tools = await this.#tools(listener, { caller, client, rules, filters, waiting }, standing);
    return { tools, ...this.#features(listener, this.#offerOf(rules)) };
  }

  async #tools(listener: Listener, view: View, standing: Standing): Promise<string> {
    const key = await this.#keyOf(listener, view.rules, standing);
    this.#forgetOld();
    const known = this.#views.get(key);
    if (known) return known;
    const looking = this.#parts
      .tools(view)
      .then((entries) => sha256(entries.map((entry) => this.#digest(entry[view.client.era])).join()));
    this.#views.set(key, looking);
    looking.catch(() => this.#views.delete(key));
    return looking;
  }

  #offerOf(rules: Rules): Offer {
    this.#forgetOld();
    const key = this.#rulesKey(rules);
    const offer = this.#offerByRules.get(key) ?? this.#parts.offers.of(rules);
    this.#offerByRules.set(key, offer);
    return offer;
  }

  #forgetOld(): void {
    const { version } = this.#parts.mcp.upstreams;
    if (this.#version === version && this.#views.size < MOST_VIEWS) return;
    this.#version = version;
    this.#views.clear();
    this.#offerByRules.clear();
  }

  /** Everything that `tools/list` depends on beside the catalogue itself. */
  async #keyOf({ caller, client, headers }: Listener, rules: Rules, standing: Standing): Promise<string> {
    const labels = await this.#parts.mcp.vault.severalAccounts(caller.owner);
    const { era, version, opensUrls, info } = client;
    return JSON.stringify([
      this.#rulesKey(rules),
      [...standing].map(([id, { status, orphaned }]) => `${id} ${orphaned || status}`).sort(),
      labels.size > 0 ? this.#number(labels) : 0,
      caller.virtualMcp ? this.#number(caller.virtualMcp) : 0,
      [era, version, opensUrls, info?.name, info?.version],
      headers.get("x-bf-mcp-include-clients"),
      headers.get("x-bf-mcp-include-tools"),
    ]);
  }

  #features({ caller, headers, filters }: Listener, offer: Offer): Omit<Seen, "tools"> {
    const hidden = this.#parts.plain.hidden(caller);
    const narrowed = [headers.get("x-bf-mcp-include-clients"), headers.get("x-bf-mcp-include-tools"), hidden];
    const key = JSON.stringify(narrowed);
    let known = this.#offers.get(offer);
    if (!known) {
      known = new Map();
      this.#offers.set(offer, known);
    }
    let seen = known.get(key);
    if (!seen) {
      const list = (method: string) =>
        featureList(method)!
          .of(offer, filters, hidden)
          .map(({ modern }) => modern);
      seen = {
        prompts: sha256(stringifyJson(list("prompts/list"))),
        resources: sha256(stringifyJson([list("resources/list"), list("resources/templates/list")])),
      };
      known.set(key, seen);
    }
    return seen;
  }

  #digest(definition: object): string {
    let digest = this.#digests.get(definition);
    if (digest === undefined) {
      digest = sha256(stringifyJson(definition));
      this.#digests.set(definition, digest);
    }
    return digest;
  }

  /** Rules that say the same are the same, whoever has them. */
  #rulesKey(rules: Rules): string {
    let key = this.#rules.get(rules);
    if (key === undefined) {
      const all = [...rules.upstreams].map(([id, tools]) => [id, tools === "*" ? tools : [...tools].sort()]);
      key = sha256(JSON.stringify(all.sort(([a], [b]) => (a! < b! ? -1 : 1))));
      this.#rules.set(rules, key);
    }
    return key;
  }

  #number(thing: object): number {
    let number = this.#numbers.get(thing);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(thing, number);
    }
    return number;
  }
}
