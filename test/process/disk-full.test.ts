import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { addProtected } from "../journeys/steps/main-job.ts";
import { Management } from "../journeys/steps/management.ts";
import { linkOf, signIn, textOf } from "../journeys/steps/mcp-client.ts";
import { startProtectedUpstream } from "../journeys/steps/peers.ts";
import { Administrator, assertPage, finishConsent, Person } from "../journeys/steps/person.ts";
import { freePort } from "../peers/free-port.ts";

const ROOT = join(import.meta.dirname, "../..");
const adminToken = "an-administrator-token-for-tests";
const whoami = { name: "protected-whoami" };
const redirectUri = "http://127.0.0.1:1/callback";

/** A gateway whose log goes to a file on the same disk. */
async function start(allow: string[]) {
  const folder = mkdtempSync(join(tmpdir(), "postern-full-"));
  const port = await freePort();
  const log = openSync(join(folder, "log"), "a");
  const child = spawn(process.execPath, [join(ROOT, "src/main.ts"), "serve"], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      POSTERN_PORT: String(port),
      POSTERN_DATABASE_URL: `sqlite:${folder}/postern.db`,
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_OUTBOUND_ALLOW: allow.join(","),
      POSTERN_LOG_LEVEL: "debug",
    },
    stdio: ["ignore", "pipe", log],
  });
  closeSync(log);
  let said = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  while (!said.includes("/setup?token=")) await once(child.stdout!, "data");
  // A file may not grow past this: what a full disk is to a process, without needing one (setrlimit(2), RLIMIT_FSIZE).
  const limit = (bytes: string) => execFileSync("prlimit", ["--pid", String(child.pid), `--fsize=${bytes}:`]);
  return {
    baseUrl: `http://localhost:${port}`,
    setupLink: /http\S+\/setup\?token=\S+/.exec(said)![0],
    database: join(folder, "postern.db"),
    log: join(folder, "log"),
    child,
    fill: () => limit("512"),
    makeRoom: () => limit("unlimited"),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A person who has come as far as the last button of a consent. */
async function almostAllowed(baseUrl: string, person: Person): Promise<URL> {
  const registered = await fetch(`${baseUrl}/api/oauth/per-user/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_name: "C", redirect_uris: [redirectUri] }),
  });
  const { client_id } = (await registered.json()) as { client_id: string };
  const query = new URLSearchParams({
    client_id,
    redirect_uri: redirectUri,
    response_type: "code",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    code_challenge_method: "S256",
  });
  return (await person.approve(`${baseUrl}/api/oauth/per-user/authorize?${query}`)).url;
}

it("on a full disk writes are refused whole, reads go on, no refresh begins, and room is enough to go on (AV-07)", async () => {
  const guarded = await startProtectedUpstream();
  await using gateway = await start(guarded.allow);
  const { baseUrl } = gateway;
  const admin = new Management(baseUrl, adminToken);
  const operator = new Administrator();
  await operator.setUp(gateway.setupLink);
  const upstreamId = await addProtected(admin, operator, guarded);
  const key = await admin.createKey("Alice", [upstreamId]);
  const person = new Person(key.value);
  const other = new Person(key.value);
  const { client } = await signIn(baseUrl, person);
  assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
  expect(textOf(await client.callTool(whoami))).toBe("alice");
  const services = await almostAllowed(baseUrl, other);
  const logged = statSync(gateway.log).size;

  gateway.fill();
  const refused = await admin.send("POST", "/api/governance/virtual-keys", { name: "Bob" });
  expect(refused).toMatchObject({
    status: 503,
    body: { error: { code: expect.stringMatching(/^database_/) } },
  });
  const submitted = await other.browser.submitForm("/consent/submit", {}, { stopAt: redirectUri });
  expect(submitted.status).toBe(503);
  // Reads go on, and so do calls with a credential that is warm.
  expect(await admin.tools(upstreamId)).toContain("whoami");
  expect(textOf(await client.callTool(whoami))).toBe("alice");
  expect((await fetch(`${baseUrl}/ready`)).status).toBe(200);
  // The provider would give a pair that could not be stored.
  guarded.provider.withdrawAccessTokens();
  await client.callTool(whoami).catch(() => {});
  expect(guarded.provider.tokenCalls("refresh_token")).toBe(0);
  expect(statSync(gateway.log).size).toBe(logged);
  expect(gateway.child.exitCode).toBeNull();

  gateway.makeRoom();
  await admin.createKey("Bob", [upstreamId]);
  // The same submit, sent again: nothing of it had been done.
  assertPage(await other.browser.get(services));
  expect((await finishConsent(other.browser, redirectUri)).searchParams.get("code")).toBeTruthy();
  await expect.poll(async () => textOf(await client.callTool(whoami))).toBe("alice");
  await admin.expect(400, "POST", "/api/governance/virtual-keys", {});
  await expect.poll(() => statSync(gateway.log).size).toBeGreaterThan(logged);
  expect(readFileSync(gateway.log, "utf8")).not.toContain("uncaught");
  await client.close();
  for (const one of [operator, person, other, guarded]) await one.close();
  gateway.child.kill("SIGTERM");
  await once(gateway.child, "exit");
  expect(gateway.child.exitCode).toBe(0);
  const database = new DatabaseSync(gateway.database);
  expect(database.prepare("pragma integrity_check").get()).toEqual({ integrity_check: "ok" });
  // The first client's, and one of the consent that was submitted twice.
  expect(database.prepare("select count(*) as n from grants").get()).toEqual({ n: 2 });
  database.close();
}, 120_000);
