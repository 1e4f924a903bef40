import { afterEach, beforeEach } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import type { Features, Upstream } from "../upstreams/index.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";

const icons = [{ src: "data:image/png;base64,AA==", mimeType: "image/png" }];
export const features: Features = {
  capabilities: { resources: {}, prompts: {}, completions: {}, tools: {} },
  resources: [
    { name: "Readme", uri: "file:///readme.md", icons, annotations: { priority: 0.5 }, "x-kept": [1.5] },
    { name: "Only", uri: "acme://only" },
  ],
  templates: [{ name: "Row", uriTemplate: "acme://rows/{id}", "x-kept": true }],
  prompts: [{ name: "greet", title: "Greet", arguments: [{ name: "who", required: true }], icons }],
};
export const fewer: Features = {
  capabilities: { resources: {}, prompts: {} },
  resources: [{ name: "Readme", uri: "file:///readme.md" }],
  templates: [],
  prompts: [{ name: "greet" }],
};
export const eras = ["modern", "legacy"] as const;

/** Two upstreams, one of each era, with resources and prompts, and a key for both. */
class Stage {
  acme!: ScriptedUpstream;
  other!: ScriptedUpstream;
  bench!: Bench;
  key!: string;
  first!: Upstream;
  second!: Upstream;

  async open(): Promise<void> {
    this.acme = await startScriptedUpstream({ tools: [echo] });
    this.other = await startScriptedUpstream({ tools: [echo], era: "legacy" });
    this.bench = await openBench(this.acme, this.other);
    this.first = await this.offered(this.acme, "acme", features);
    this.second = await this.offered(this.other, "beta", fewer);
    this.key = await this.keyFor([this.first, this.second]);
  }

  async close(): Promise<void> {
    await this.bench.close();
    await this.acme.close();
    await this.other.close();
  }

  async offered(peer: ScriptedUpstream, name: string, what: Features, more: Json = {}): Promise<Upstream> {
    const { upstreams } = this.bench;
    const { id } = await this.bench.upstream(peer, { name, tool_pins: "accept", ...more });
    await upstreams.recordTools(id, peer.tools, what);
    await upstreams.recordEra(id, peer.era);
    return upstreams.get(id);
  }

  async keyFor(upstreams: Upstream[], tools = ["*"]): Promise<string> {
    const configs = upstreams.map(({ id }) => ({ upstreamId: id, tools }));
    return (await this.bench.key(`k${Math.random()}`, configs)).value;
  }

  ask(era: (typeof eras)[number], method: string, params: Json = {}, headers: Record<string, string> = {}) {
    const named: Record<string, string> =
      typeof params.uri === "string" && era === "modern" ? { "mcp-name": params.uri } : {};
    return this.bench[era](this.key, method, params, { ...named, ...headers });
  }

  requests(): number {
    return this.acme.requests.length + this.other.requests.length;
  }
}

/** Anew for each test. */
export const stage = new Stage();
beforeEach(() => stage.open());
afterEach(() => stage.close());
