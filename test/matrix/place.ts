import { randomUUID } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Config, loadConfig } from "../../src/config.ts";
import { type FreshDatabase, freshPostgresDatabase } from "../postgres/database.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { type UpstreamKind, upstreamKinds } from "./upstreams.ts";

/** Where clients connect: one gateway, or several that answer in turn, with every upstream behind them. */
export interface Place {
  url: URL;
  /** One for each client, in their order. */
  keys: string[];
  /** Each replica's own address. */
  replicas: URL[];
  /** Carries each request to the next replica. */
  fetch: typeof fetch;
  close(): Promise<void>;
}

interface Entry {
  name: string;
  connection_string?: string;
}

/** Every upstream that this client reaches. A program is not asked on behalf of one while others use it (decision 21). */
export function upstreamsOf(client: number, replicas: number): UpstreamKind[] {
  return upstreamKinds
    .filter(({ isProgram }) => replicas === 1 || !isProgram)
    .map((kind) => (kind.isProgram ? { ...kind, name: `${kind.name}${client}` } : kind));
}

/** `clients`: how many. `replicas`: more than one share a Postgres database. */
export async function openPlace(clients: number, replicas: number): Promise<Place> {
  const reached = Array.from({ length: clients }, (_, client) => upstreamsOf(client, replicas));
  const kinds = new Map(reached.flat().map((kind) => [kind.name, kind]));
  const upstreams = await Promise.all(
    [...kinds.values()].map(async (kind) => {
      const { entry, close } = await kind.start(kind);
      return { entry: { ...entry, name: kind.name, tools_to_execute: ["*"] } as Entry, close };
    }),
  );
  const keys = reached.map((own, client) => ({
    name: `client ${client}`,
    value: `sk-bf-matrix-${randomUUID()}`,
    mcp_configs: own.map(({ name }) => ({ mcp_client_name: name })),
  }));
  const entries = upstreams.map(({ entry }) => entry);
  const database = replicas > 1 ? await freshPostgresDatabase() : undefined;
  const gateways = await startGateways(replicas, entries, keys, database);
  let turn = 0;
  return {
    url: new URL(gateways[0]!.url),
    keys: keys.map(({ value }) => value),
    replicas: gateways.map((gateway) => new URL(gateway.url)),
    fetch: (input, init) => {
      const { pathname } = new URL(String(input instanceof Request ? input.url : input));
      turn += 1;
      return fetch(gateways[turn % gateways.length]!.url + pathname, init);
    },
    close: async () => {
      await Promise.all(gateways.map((gateway) => gateway.stop()));
      await Promise.all(upstreams.map((upstream) => upstream.close()));
      await database?.drop();
    },
  };
}

async function startGateways(
  replicas: number,
  entries: Entry[],
  keys: object[],
  database: FreshDatabase | undefined,
): Promise<RunningGateway[]> {
  const addresses = entries.map((entry) => entry.connection_string);
  const options = {
    outboundAllow: addresses.filter((url) => url !== undefined).map((url) => new URL(url).host),
    databaseUrl: database?.url,
    configure: configured(entries, keys),
  };
  const first = await startGateway(options);
  const { clients } = await first.admin<{ clients: { config: { client_id: string } }[] }>(
    "GET",
    "/api/mcp/clients?limit=100",
  );
  for (const { config } of clients)
    await first.admin("POST", `/api/mcp/client/${config.client_id}/refresh-tools`);
  const gateways = [first];
  for (let more = 1; more < replicas; more++)
    gateways.push(await startGateway({ ...options, encryptionKey: first.encryptionKey }));
  for (const { gateway } of gateways) await gateway.startJobs();
  return gateways;
}

/** As from a configuration file: programs are named nowhere else. */
function configured(entries: Entry[], virtual_keys: object[]): (config: Config) => void {
  const path = join(tmpdir(), `postern-matrix-${randomUUID()}.json`);
  writeFileSync(path, JSON.stringify({ mcp: { client_configs: entries }, governance: { virtual_keys } }));
  const environment = { PATH: process.env.PATH, HOME: tmpdir() };
  const found = loadConfig({ environment, file: path });
  rmSync(path);
  return (config) => {
    config.upstreams = found.upstreams;
    config.commands = found.commands;
    config.virtualKeys = found.virtualKeys;
  };
}
