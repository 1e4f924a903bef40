import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startAuthorizationServer } from "../test/peers/identity-provider.ts";
import { type ModernUpstream, startModernUpstream } from "../test/peers/modern-upstream.ts";
import type { BaselineReady } from "./baseline.ts";
import { type Child, startChild } from "./child.ts";
import { type Gateway, startGateway } from "./gateway.ts";
import type { Load, LoadResult } from "./load.ts";
import { listTools } from "./modern-call.ts";
import { connectPerson } from "./person.ts";
import type { UpstreamCounts, UpstreamReady } from "./upstream.ts";

const adminToken = "benchmark-administrator-token";
const CATALOG_TIMEOUT_MS = 10_000;

/** The upstreams as the gateway knows them. */
const names = { open: "open", perUser: "peruser", legacy: "older" } as const;

/** Everything that runs during a benchmark. */
export interface Stage {
  upstream: Child<UpstreamReady, object, UpstreamCounts>;
  baseline: Child<BaselineReady, object, object>;
  load: Child<object, Load, LoadResult>;
  /** An older-era server of the official SDK, for counting requests. */
  legacy: ModernUpstream;
  gateway: Gateway;
  /** The access token of a person whose credentials are warm. */
  token: string;
  /** Connects somebody new to the per-user upstreams and returns the access token. */
  newcomer(): Promise<string>;
  close(): Promise<void>;
}

/** The name a client calls a tool of one of our upstreams by. */
export function exposedTool(upstream: keyof typeof names, tool: string): string {
  return `${names[upstream]}-${tool}`;
}

/** Starts all processes, connects one person and waits until every tool is listed. */
export async function setStage(profileFolder?: string): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", removeFolder);
  const closing: (() => unknown)[] = [removeFolder];
  const close = async () => {
    for (const end of closing.splice(0).reverse()) await end();
  };
  const closed = <T extends { stop?(): unknown; close?(): unknown }>(part: T): T => {
    closing.push(() => (part.stop ?? part.close)?.call(part));
    return part;
  };
  try {
    const provider = closed(await startAuthorizationServer());
    const legacy = closed(
      await startModernUpstream({ eras: "legacy", protection: { kind: "oauth", provider } }),
    );
    const upstream: Stage["upstream"] = closed(await startChild("upstream.ts", [provider.issuer]));
    const baseline: Stage["baseline"] = closed(await startChild("baseline.ts", [upstream.ready.origin]));
    const load: Stage["load"] = closed(await startChild("load.ts"));
    const gateway = closed(
      await startGateway({
        folder,
        adminToken,
        profileFolder,
        reachable: [provider.issuer, upstream.ready.origin, legacy.url],
        upstreams: definitions(upstream.ready.origin, legacy.url),
      }),
    );
    let people = 0;
    const newcomer = () =>
      connectPerson({ origin: gateway.origin, adminToken, name: `person ${++people}`, services: 2 });
    const token = await newcomer();
    await catalogFilled(gateway, token);
    return { upstream, baseline, load, legacy, gateway, token, newcomer, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function definitions(origin: string, legacyUrl: string): Record<string, unknown>[] {
  const common = { connection_type: "http", tools_to_execute: ["*"], allow_on_all_virtual_keys: true };
  return [
    { ...common, name: names.open, auth_type: "none", connection_string: `${origin}/open` },
    { ...common, name: names.perUser, auth_type: "per_user_oauth", connection_string: `${origin}/protected` },
    { ...common, name: names.legacy, auth_type: "per_user_oauth", connection_string: legacyUrl },
  ];
}

/** Tool lists fill by themselves once the first credential exists. */
async function catalogFilled(gateway: Gateway, token: string): Promise<void> {
  const deadline = performance.now() + CATALOG_TIMEOUT_MS;
  for (;;) {
    const listed = await listTools(`${gateway.origin}/mcp`, token);
    const missing = Object.values(names).filter(
      (name) => !listed.some((tool) => tool.startsWith(`${name}-`)),
    );
    if (missing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`No tools listed of ${missing.join(", ")}`);
    await pause(20);
  }
}
