import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { SseUpstream } from "../peers/sse-upstream.ts";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";

const script = fileURLToPath(new URL("../peers/program.ts", import.meta.url));
const key = "sk-bf-programs-0123456789";
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(kind: "sqlite" | "postgres", peer: SseUpstream): Promise<RunningGateway> {
  const path = join(tmpdir(), `postern-programs-${process.pid}-${kind}.json`);
  const file = {
    mcp: {
      client_configs: [
        {
          name: "local",
          connection_type: "stdio",
          stdio_config: { command: process.execPath, args: [script, "modern"], envs: ["PROGRAM_TOKEN"] },
          tools_to_execute: ["echo", "environment"],
        },
        { name: "old", connection_type: "sse", connection_string: peer.url, tools_to_execute: ["*"] },
      ],
    },
    mcpServers: {
      desk: { command: process.execPath, args: [script, "legacy"], env: { DESK_KEY: "env.PROGRAM_TOKEN" } },
    },
    governance: {
      virtual_keys: [
        {
          name: "all",
          value: key,
          mcp_configs: ["local", "old", "desk"].map((name) => ({ mcp_client_name: name })),
        },
      ],
    },
  };
  writeFileSync(path, JSON.stringify(file));
  closing.push(() => rmSync(path));
  const environment = {
    PATH: process.env.PATH,
    HOME: tmpdir(),
    PROGRAM_TOKEN: "program-token-1",
    SECRET: "not for it",
  };
  const found = loadConfig({ environment, file: path });
  const database = kind === "postgres" ? await freshPostgresDatabase() : undefined;
  if (database) closing.push(database.drop);
  const gateway = await startGateway({
    databaseUrl: database?.url,
    outboundAllow: [new URL(peer.url).host],
    configure: (config) => {
      config.upstreams = found.upstreams;
      config.commands = found.commands;
      config.virtualKeys = found.virtualKeys;
    },
  });
  return gateway;
}

/** Running programs of this test file, by what they were started with. */
function running(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const line = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, "utf8") : "";
      const parent = existsSync(`/proc/${pid}/stat`)
        ? readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[3]
        : "";
      return line.includes(script) && parent === String(process.pid);
    });
}

describe.each(["sqlite", "postgres"] as const)("programs and older servers on %s", (kind) => {
  test("from the file: tools listed by themselves, called through the gateway, ended with it; nothing over the API", async () => {
    const peer = await SseUpstream.start();
    closing.push(() => peer.close());
    const gateway = await start(kind, peer);
    let isStopped = false;
    closing.push(async () => isStopped || gateway.stop());
    await gateway.gateway.startJobs();
    const client = new Client({ name: "test", version: "1" });
    await client.connect(
      new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp`), {
        requestInit: { headers: { authorization: `Bearer ${key}` } },
      }),
    );
    closing.push(() => client.close());
    await expect
      .poll(async () => (await client.listTools()).tools.map(({ name }) => name), { timeout: 20_000 })
      .toEqual(expect.arrayContaining(["desk-echo", "local-echo", "local-environment", "old-echo"]));
    expect((await client.listTools()).tools.map(({ name }) => name)).not.toContain("local-crash");

    for (const name of ["desk-echo", "old-echo"])
      expect(JSON.stringify(await client.callTool({ name, arguments: { a: 1 } }))).toContain('\\"a\\":1');
    const seen = await client.callTool({ name: "local-environment", arguments: {} });
    const text = (seen.content as { text: string }[])[0]!.text;
    expect(Object.keys(JSON.parse(text).env).toSorted()).toEqual(["HOME", "PATH", "PROGRAM_TOKEN"]);
    expect(running()).toHaveLength(2);

    const { clients } = await gateway.admin<{
      clients: { config: Record<string, unknown>; state: string }[];
    }>("GET", "/api/mcp/clients");
    expect(JSON.stringify(clients.map(({ config }) => config))).not.toMatch(/program-token|program\.ts/);
    expect(clients.find(({ config }) => config.name === "local")).toMatchObject({
      state: "healthy",
      config: {
        connection_type: "stdio",
        stdio_config: { command: process.execPath, envs: ["PROGRAM_TOKEN"] },
      },
    });
    const tripwire = join(tmpdir(), `tripwire-${process.pid}`);
    const stdio_config = { command: "sh", args: ["-c", `touch ${tripwire}`] };
    const body = { name: "evil", connection_type: "stdio", stdio_config };
    await expect(gateway.admin("POST", "/api/mcp/client", body)).rejects.toThrow(
      /unsupported_connection_type/,
    );
    expect(existsSync(tripwire)).toBe(false);

    await gateway.stop();
    isStopped = true;
    expect(running()).toEqual([]);
  });
});
