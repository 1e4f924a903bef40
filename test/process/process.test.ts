import { randomBytes } from "node:crypto";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { freePort } from "../peers/free-port.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { answer, startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { readJson } from "../support/read.ts";
import { GatewayProcess, type ProcessOptions } from "./gateway-process.ts";

const token = "an-administrator-token-for-tests";

async function started(options: Partial<ProcessOptions> = {}) {
  const port = await freePort();
  const gateway = new GatewayProcess({
    ...options,
    environment: { POSTERN_PORT: String(port), POSTERN_ADMIN_TOKEN: token, ...options.environment },
  });
  await gateway.says("MCP URL:");
  const url = `http://localhost:${port}`;
  const admin = async (path: string, body: unknown) =>
    readJson(
      await fetch(url + path, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    );
  return { gateway, url, admin };
}

it("npm start serves, prints what to do next, and stops cleanly on SIGTERM to npm", async () => {
  const { gateway, url } = await started({ through: "npm" });
  await using _ = gateway;
  await gateway.says("/setup?token=");
  expect((await fetch(`${url}/health`)).status).toBe(200);
  expect((await fetch(url)).status).toBe(200);
  expect(gateway.output).toContain(`claude mcp add --transport http postern ${url}/mcp`);
  expect(gateway.output).not.toContain(token);
  expect(statSync(join(gateway.folder, "postern.key")).mode & 0o777).toBe(0o600);
  expect(statSync(join(gateway.folder, "postern.db")).mode & 0o777).toBe(0o600);
  gateway.child.kill("SIGTERM");
  expect(await gateway.exit()).toBe(0);
  await expect(fetch(`${url}/health`)).rejects.toThrow();
});

it("AV-21 nothing new is taken from SIGTERM on; a call in flight finishes, also after a second signal, and only then does the process end", async () => {
  const upstream = await startScriptedUpstream({
    era: "modern",
    tools: [{ name: "wait", inputSchema: { type: "object" } }],
  });
  const { gateway, url, admin } = await started({
    environment: { POSTERN_OUTBOUND_ALLOW: new URL(upstream.url).host },
  });
  await using _ = gateway;
  try {
    const made = await admin("/api/mcp/client", {
      name: "up",
      connection_type: "http",
      connection_string: upstream.url,
      auth_type: "none",
      tools_to_execute: ["*"],
      allow_on_all_virtual_keys: true,
    });
    await admin(`/api/mcp/client/${made.mcp_client_id}/refresh-tools`, undefined);
    const key = await admin("/api/governance/virtual-keys", { name: "k" });
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const arrived = upstream.arrival("tools/call");
    upstream.next(
      answer.after(
        held,
        answer.result({ resultType: "complete", content: [{ type: "text", text: "done" }] }),
      ),
      "tools/call",
    );
    const call = fetch(`${url}/mcp`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${key.virtual_key.value}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: { name: "up-wait", arguments: {} },
      }),
    });
    await arrived;
    gateway.child.kill("SIGTERM");
    await gateway.says("Stopping");
    await expect(fetch(`${url}/ready`)).rejects.toThrow();
    gateway.child.kill("SIGTERM");
    release();
    expect(await readJson(await call)).toMatchObject({ id: 1, result: { content: [{ text: "done" }] } });
    expect(await gateway.exit()).toBe(0);
  } finally {
    await upstream.close();
  }
});

it.each([
  ["an unknown variable names the nearest", { POSTERN_PROT: "1" }, "Did you mean POSTERN_PORT?"],
  ["a short administrator token", { POSTERN_ADMIN_TOKEN: "short" }, "POSTERN_ADMIN_TOKEN"],
  ["an insecure base URL", { POSTERN_BASE_URL: "http://gateway.example" }, "https origin"],
  ["a weak key (ST-06)", { POSTERN_ENCRYPTION_KEY: Buffer.alloc(32).toString("base64") }, "not random"],
  [
    "Postgres without a key",
    { POSTERN_DATABASE_URL: "postgres://127.0.0.1:1/x" },
    "POSTERN_ENCRYPTION_KEY is required",
  ],
  ["an allow list without a port", { POSTERN_OUTBOUND_ALLOW: "localhost" }, "POSTERN_OUTBOUND_ALLOW"],
  ["half an administrator", { POSTERN_ADMIN_EMAIL: "a@example.com" }, "POSTERN_ADMIN_PASSWORD"],
])("bad configuration ends with 2: %s", async (_, environment, sentence) => {
  await using gateway = new GatewayProcess({ environment: environment as unknown as Record<string, string> });
  expect(await gateway.exit()).toBe(2);
  expect(gateway.output).toContain(sentence);
});

it.each([
  ["an unknown key", { mpc: {} }, "Did you mean mcp?"],
  [
    "an unknown key deep inside",
    { mcp: { client_configs: [{ name: "a", conection_type: "http" }] } },
    "Did you mean connection_type?",
  ],
  [
    "an upstream that cannot be",
    {
      mcp: {
        client_configs: [
          { name: "a", connection_type: "http", connection_string: "ftp://x", auth_type: "none" },
        ],
      },
    },
    "connection_string",
  ],
  [
    "a missing variable",
    { governance: { virtual_keys: [{ name: "k", value: "env.NOT_SET_ANYWHERE" }] } },
    "NOT_SET_ANYWHERE",
  ],
])("a bad file ends with 2: %s", async (_, file, sentence) => {
  const gateway = await withFile(file);
  await using _gateway = gateway;
  expect(await gateway.exit()).toBe(2);
  expect(gateway.output).toContain(sentence);
});

it("keys of the product family that do nothing here are named in one warning", async () => {
  const gateway = await withFile({ providers: {}, client: { enable_logging: true } });
  await using _ = gateway;
  await gateway.says("Listening");
  expect(gateway.output).toMatch(/have no effect here: providers, client\.enable_logging$/m);
});

it("another encryption key ends with 2 and changes nothing (ST-05)", async () => {
  const key = () => randomBytes(32).toString("base64");
  const { gateway } = await started({ environment: { POSTERN_ENCRYPTION_KEY: key() } });
  await using _ = gateway;
  gateway.child.kill("SIGTERM");
  await gateway.exit();
  await using other = new GatewayProcess({
    environment: {
      POSTERN_DATABASE_URL: `sqlite:${gateway.folder}/postern.db`,
      POSTERN_ENCRYPTION_KEY: key(),
    },
  });
  expect(await other.exit()).toBe(2);
  expect(other.output).toContain("does not open this database");
});

it("a port in use ends with 1 and says so", async () => {
  const occupant = await startLoopbackServer();
  await using gateway = new GatewayProcess({ environment: { POSTERN_PORT: String(occupant.port) } });
  expect(await gateway.exit()).toBe(1);
  expect(gateway.output).toContain("the port is in use");
  await occupant.close();
});

it("the environment's administrator can sign in", async () => {
  const admin = { email: "ada@example.com", password: "correct horse battery" };
  const { gateway, url } = await started({
    environment: { POSTERN_ADMIN_EMAIL: admin.email, POSTERN_ADMIN_PASSWORD: admin.password },
  });
  await using _ = gateway;
  const answer = await fetch(`${url}/api/session/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(admin),
  });
  expect(answer.status).toBe(200);
  expect(gateway.output).not.toContain("/setup?token=");
  expect(gateway.output).not.toContain(admin.password);
});

async function withFile(file: unknown): Promise<GatewayProcess> {
  const port = await freePort();
  const path = join(process.env.TMPDIR ?? "/tmp", `postern-config-${port}.json`);
  writeFileSync(path, JSON.stringify(file));
  return new GatewayProcess({
    environment: { POSTERN_PORT: String(port) },
    args: ["serve", "--config", path],
  });
}
