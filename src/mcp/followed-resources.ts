import type { JsonObject } from "../base/index.ts";
import type { Watching } from "../relay/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { accountFor } from "./accounts.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import type { Listener } from "./listener.ts";
import type { Offers } from "./offers.ts";
import type { McpParts } from "./parts.ts";

/** The upstream's own URI to the one that the client subscribed to. */
type Names = ReadonlyMap<string, string>;

/** What one listener follows at one upstream. */
interface Followed {
  watching: Watching;
  names: Names;
}

interface Wanted {
  upstream: Upstream;
  account: string | undefined;
  names: Map<string, string>;
}

const UPDATED = "notifications/resources/updated";

/**
 * The resources that listeners follow, watched at their upstreams with the listener's own credential and nobody else's.
 * relay/ lets those share a stream who have the same owner and account.
 */
export class FollowedResources {
  readonly #parts: Pick<McpParts, "access" | "relay" | "world">;
  readonly #offers: Offers;
  readonly #followed = new Map<Listener, Map<string, Followed>>();
  /** What a listener wanted to follow and could not for a while: upstream and account. */
  readonly #lapsed = new WeakMap<Listener, Set<string>>();

  constructor(parts: Pick<McpParts, "access" | "relay" | "world">, offers: Offers) {
    this.#parts = parts;
    this.#offers = offers;
  }

  /** How many listeners follow anything. */
  get size(): number {
    return this.#followed.size;
  }

  /** Brings what is watched in line with what the listener wants and may have now. */
  settle(listener: Listener): void {
    const wanted = this.#wanted(listener);
    const known = this.#followed.get(listener);
    for (const [key, { watching, names }] of known ?? []) {
      if (wanted.has(key)) continue;
      watching.close();
      known!.delete(key);
      if ([...names.values()].some((uri) => listener.uris.has(uri))) this.#lapse(listener, key);
    }
    if (wanted.size === 0) return void this.#followed.delete(listener);
    const followed = known ?? new Map<string, Followed>();
    this.#followed.set(listener, followed);
    for (const [key, one] of wanted) this.#follow(listener, followed, key, one);
  }

  /** Nobody hears it any more. */
  drop(listener: Listener): void {
    for (const { watching } of this.#followed.get(listener)?.values() ?? []) watching.close();
    this.#followed.delete(listener);
  }

  /** Says of everything the listener follows that it may have changed: nobody heard whether it did. */
  tellAll(listener: Listener): void {
    for (const { names } of this.#followed.get(listener)?.values() ?? []) tellAgain(listener, names);
  }

  #lapse(listener: Listener, key: string): void {
    const lapsed = this.#lapsed.get(listener) ?? new Set();
    this.#lapsed.set(listener, lapsed.add(key));
  }

  #wanted(listener: Listener): Map<string, Wanted> {
    const { rules, filters, caller, headers, isGone, uris, connected } = listener;
    const wanted = new Map<string, Wanted>();
    if (!rules || isGone || uris.size === 0) return wanted;
    const { names } = this.#offers.of(rules);
    for (const uri of uris) {
      const found = names.find(uri);
      // What is not allowed any more is not heard of any more (ID-30).
      if (!found || !filters.allowUpstream(found.upstream) || !canFollow(found.upstream)) continue;
      const { upstream, own } = found;
      const account = accountFor({ upstream } as Target, { caller, headers });
      // There is nothing to follow it with yet; a connection brings us here again.
      if (upstream.perUser && account === undefined && !connected.has(upstream.id)) {
        this.#lapse(listener, keyOf(upstream, account));
        continue;
      }
      const key = keyOf(upstream, account);
      const one = wanted.get(key) ?? { upstream, account, names: new Map() };
      one.names.set(own, uri);
      wanted.set(key, one);
    }
    return wanted;
  }

  #follow(listener: Listener, all: Map<string, Followed>, key: string, wanted: Wanted): void {
    const { upstream, account, names } = wanted;
    const resourceSubscriptions = [...names.keys()];
    const known = all.get(key);
    if (known) {
      const isNew = resourceSubscriptions.some((own) => !known.names.has(own));
      if (isNew || known.names.size !== names.size) known.watching.change({ resourceSubscriptions });
      known.names = names;
      return;
    }
    const owner = upstream.perUser ? listener.caller.owner : undefined;
    const followed: Followed = { names, watching: { change() {}, close() {} } };
    all.set(key, followed);
    // What happened meanwhile was not heard.
    if (this.#lapsed.get(listener)?.delete(key)) tellAgain(listener, names);
    followed.watching = this.#parts.relay.watch(
      { upstream, owner, account },
      { resourceSubscriptions },
      {
        notification: (method, params) => {
          if (method === UPDATED && all.get(key) === followed)
            void this.#tell(listener, upstream, followed.names, params);
        },
        lost: (reason) =>
          this.#parts.world.log.debug("mcp.resources_not_followed", { upstream: upstream.name, reason }),
        reopened: () => tellAgain(listener, followed.names),
      },
    );
  }

  /** An upstream may name a part of what was subscribed to (2025-11-25): that gets the name it is read by. */
  async #tell(listener: Listener, upstream: Upstream, names: Names, params: JsonObject): Promise<void> {
    const { access, world } = this.#parts;
    try {
      // What was allowed when it was subscribed to may not be now: the same decision as when it is read (ID-30).
      const offer = this.#offers.of(await access.rulesFor(listener.caller));
      if (typeof params.uri !== "string" || !offer.upstreams.some(({ id }) => id === upstream.id)) return;
      const uri = names.get(params.uri) ?? offer.names.nameOf(upstream, params.uri);
      listener.send({ method: UPDATED, params: { ...params, uri } });
    } catch (error) {
      world.log.warn("mcp.update_not_told", { upstream: upstream.name, error });
    }
  }
}

function keyOf({ id, generation }: Upstream, account: string | undefined): string {
  return `${id} ${generation} ${account ?? ""}`;
}

function tellAgain(listener: Listener, names: Names): void {
  for (const uri of names.values()) listener.send({ method: UPDATED, params: { uri } });
}

/** Whether the upstream tells of updates; of one that was never read it is not known. */
export function canFollow({ features }: Pick<Upstream, "features">): boolean {
  const declared = features?.capabilities.resources;
  return isObject(declared) && declared.subscribe === true;
}
