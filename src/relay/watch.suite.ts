import { afterEach, beforeEach, expect } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { StandingStreams } from "../../test/peers/standing-streams.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { type JsonObject, type Outbound, openOutbound, systemWorld } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import { Relay, type RelayUpstream, type WatchFor, type Watching, type WatchWanted } from "./index.ts";

export const LISTS = {
  tools: "notifications/tools/list_changed",
  prompts: "notifications/prompts/list_changed",
  resources: "notifications/resources/list_changed",
};
export const UPDATED = "notifications/resources/updated";
export const everything = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
};

/** Waits for what comes on a stream; a busy machine takes its time. */
export const eventually = <T>(read: () => T) => expect.poll(read, { interval: 10, timeout: 15_000 });

/** What one watch was told. */
export interface Told {
  watching: Watching;
  heard: { method: string; params: JsonObject }[];
  lost: string[];
  reopened: number;
}

/** A relay, a scripted upstream whose streams the test holds, and a vault that the test answers for. */
class Stage {
  upstream!: ScriptedUpstream;
  streams!: StandingStreams;
  outbound!: Outbound;
  relay!: Relay;
  /** What the vault answers for an owner; default: a token that names it. */
  open!: (owner: string, notGeneration: number | undefined) => Opened;
  rejected: number[] = [];
  /** The clock may be set forward. */
  ahead = 0;

  async start(): Promise<void> {
    this.upstream = await startScriptedUpstream({ capabilities: everything });
    this.streams = new StandingStreams();
    this.upstream.on("GET", this.streams.handler).on("subscriptions/listen", this.streams.acknowledging);
    for (const method of ["resources/subscribe", "resources/unsubscribe"])
      this.upstream.on(method, ({ res, id }) => {
        res.writeHead(200, { "content-type": "application/json" });
        res.end(JSON.stringify({ jsonrpc: "2.0", id, result: {} }));
      });
    this.outbound = openOutbound({
      allow: { admin: [new URL(this.upstream.url).host, "127.0.0.1:1"], stranger: [] },
    });
    this.rejected = [];
    this.ahead = 0;
    this.open = (owner) => ready(owner, 1);
    const world = systemWorld({ outbound: this.outbound, log: watchedLog() });
    this.relay = new Relay({
      world: { ...world, now: () => new Date(world.now().getTime() + this.ahead) },
      version: "1.2.3",
      upstreams: { recordEra: async () => {} },
      vault: {
        open: async (owner, _upstream, _account, options) => this.open(owner.id, options?.notGeneration),
        openWarm: (owner) => {
          const opened = this.open(owner.id, undefined);
          return opened.outcome === "ready" ? opened : undefined;
        },
        markRejected: async (credential) => void this.rejected.push(credential.generation),
      },
      firstPauseMs: 20,
    });
  }

  async stop(): Promise<void> {
    await this.relay.close();
    await this.outbound.close();
    await this.upstream.close();
  }

  target(more: Partial<RelayUpstream> = {}): RelayUpstream {
    return {
      id: "up_1",
      name: "acme",
      url: new URL(this.upstream.url),
      perUser: false,
      headers: {},
      generation: 1,
      timeoutMs: 5_000,
      era: this.upstream.era,
      ...more,
    };
  }

  watch(wanted: WatchWanted, target: Partial<WatchFor> = {}): Told {
    const told: Told = { watching: { change() {}, close() {} }, heard: [], lost: [], reopened: 0 };
    told.watching = this.relay.watch({ upstream: this.target(), ...target }, wanted, {
      notification: (method, params) => void told.heard.push({ method, params }),
      lost: (reason) => void told.lost.push(reason),
      reopened: () => {
        told.reopened += 1;
      },
    });
    return told;
  }

  /** Everybody with a credential of their own. */
  as(id: string): Partial<WatchFor> {
    return { upstream: this.target({ perUser: true }), owner: { mode: "user", id } };
  }

  methods(): string[] {
    return this.upstream.requests.map(({ rpc, method }) => rpc ?? method);
  }
}

export function ready(id: string, generation: number): Opened {
  return {
    outcome: "ready",
    credential: { id: `cred_${id}`, generation } as Credential,
    authorize(headers) {
      headers.authorization = `Bearer ${id}-${generation}`;
    },
  };
}

/** Anew for each test. */
export const stage = new Stage();
beforeEach(() => stage.start());
afterEach(() => stage.stop());
