import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Dashboard } from "../journeys/steps/dashboard.ts";
import { Management } from "../journeys/steps/management.ts";
import { Administrator } from "../journeys/steps/person.ts";
import { freePort } from "../peers/free-port.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { GatewayProcess } from "../process/gateway-process.ts";
import { assertNoSecretLeft, examined } from "../support/leavings.ts";
import { marked, markedSecret } from "../support/marked.ts";

const adminToken = marked("the-token-of-the-administrator");
const encryptionKey = randomBytes(32).toString("base64");

async function start(more: Record<string, string>, flags: string[] = []) {
  const port = await freePort();
  const gateway = new GatewayProcess({
    flags,
    environment: {
      POSTERN_PORT: String(port),
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_ENCRYPTION_KEY: encryptionKey,
      POSTERN_LOG_LEVEL: "debug",
      ...more,
    },
  });
  await gateway.says("MCP URL:");
  return { gateway, url: `http://localhost:${port}` };
}

it("ST-01 a process that is killed leaves no secret in its output, its database or its journals", async () => {
  const value = marked("value-of-alice");
  const protection = { kind: "header" as const, name: "x-api-key", accounts: { [value]: "alice" } };
  const upstream = await startModernUpstream({ protection });
  const { gateway, url } = await start({ POSTERN_OUTBOUND_ALLOW: new URL(upstream.url).host });
  await using _ = gateway;
  const operator = new Administrator();
  try {
    await gateway.says("/setup?token=");
    const [link] = /http\S+\/setup\?token=\S+/.exec(gateway.output)!;
    await operator.setUp(link);
    const wrong = await new Dashboard(url).signIn("admin@example.com", marked("wrong password"));
    expect(wrong.status).toBe(401);
    const admin = new Management(url, adminToken);
    const made = await admin.createUpstream({
      name: "tickets",
      connection_string: upstream.url,
      auth_type: "per_user_headers",
      per_user_header_keys: ["X-Api-Key"],
      headers: { "x-tenant": marked("tenant") },
      user_headers: { "X-Api-Key": value },
    });
    const key = await admin.createKey("Alice", [made.mcp_client_id]);
    const own = new Management(url, key.value);
    expect(await own.sessions()).toEqual([]);
    await new Management(url, markedSecret("pst_")).send("GET", "/api/mcp/clients");
    gateway.child.kill("SIGKILL");
    await gateway.exit();
    gateway.examine();
    await using backup = new GatewayProcess({
      args: ["backup", join(gateway.folder, "postern.backup")],
      environment: { POSTERN_DATABASE_URL: `sqlite:${gateway.folder}/postern.db` },
    });
    expect(await backup.exit()).toBe(0);
    gateway.examine();
    assertNoSecretLeft();
    expect(examined("the process's output")).toBeGreaterThan(500);
    expect(examined("the file postern.backup")).toBeGreaterThan(1_000);
    // What a clean stop would have put away.
    expect(examined("the file postern.db-wal")).toBeGreaterThan(10_000);
  } finally {
    await operator.close();
    await upstream.close();
  }
});

it("ST-13 a signal opens no debugger, and a diagnostic report tells no secret", async () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-report-"));
  const flags = [`--inspect-port=127.0.0.1:${await freePort()}`, "--report-on-signal"];
  const { gateway, url } = await start({}, [...flags, `--report-directory=${folder}`]);
  await using _ = gateway;
  const written = () => readdirSync(folder);
  gateway.child.kill("SIGUSR1");
  gateway.child.kill("SIGUSR2");
  await expect.poll(written).toHaveLength(1);
  await expect
    .poll(() => (written()[0] ? readFileSync(join(folder, written()[0]!), "utf8").endsWith("}\n") : false))
    .toBe(true);
  const report = readFileSync(join(folder, written()[0]!), "utf8");
  expect(report).toContain('"javascriptStack"');
  for (const secret of [adminToken, encryptionKey]) expect(report.includes(secret)).toBe(false);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  expect(gateway.output).not.toContain("Debugger");
  gateway.child.kill("SIGTERM");
  await once(gateway.child, "exit");
  rmSync(folder, { recursive: true });
});
