import { afterEach, beforeEach } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { type JsonObject, type Outbound, openOutbound, systemWorld } from "../base/index.ts";
import type { Opened } from "../vault/index.ts";
import { type ClientView, Relay, type RelayCall, type RelayUpstream } from "./index.ts";

const modernClient: ClientView = { era: "modern", capabilities: {} };
export const META = "io.modelcontextprotocol/";

/** A relay, and the upstream it speaks to. */
class Stage {
  upstream!: ScriptedUpstream;
  outbound!: Outbound;
  relay!: Relay;
  /** The eras that were to be remembered, and the generations that were rejected. */
  eras: string[] = [];
  rejected: number[] = [];
  /** What the vault answers. */
  credential!: (notGeneration?: number) => Opened;

  async open(): Promise<void> {
    this.upstream = await startScriptedUpstream();
    const admin = [new URL(this.upstream.url).host, "127.0.0.1:1"];
    this.outbound = openOutbound({ allow: { admin, stranger: [] } });
    this.eras = [];
    this.rejected = [];
    this.credential = () => ({ outcome: "needs_user", reason: "missing" });
    this.relay = new Relay({
      world: systemWorld({ outbound: this.outbound, log: watchedLog() }),
      version: "1.2.3",
      upstreams: { recordEra: async (_id, era) => void this.eras.push(era) },
      vault: {
        open: async (_owner, _upstream, _account, options) => this.credential(options?.notGeneration),
        openWarm: () => undefined,
        markRejected: async (credential) => void this.rejected.push(credential.generation),
      },
    });
  }

  async close(): Promise<void> {
    this.relay.close();
    await this.outbound.close();
    await this.upstream.close();
  }

  target(more: Partial<RelayUpstream> = {}): RelayUpstream {
    const url = new URL(this.upstream.url);
    return {
      id: "up_1",
      name: "acme",
      url,
      perUser: false,
      headers: {},
      generation: 1,
      timeoutMs: 5_000,
      ...more,
    };
  }

  call(more: Partial<RelayCall> = {}, name = "echo", args: JsonObject = { a: 1 }) {
    return this.relay.call({
      upstream: this.target({ era: this.upstream.era }),
      method: "tools/call",
      params: { name, arguments: args },
      client: modernClient,
      signal: new AbortController().signal,
      ...more,
    });
  }

  rpcs(): (string | undefined)[] {
    return this.upstream.requests.map((request) => request.rpc);
  }
}

/** Anew for each test. */
export const stage = new Stage();
beforeEach(() => stage.open());
afterEach(() => stage.close());
