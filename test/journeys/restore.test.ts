import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  discoverOAuthServerInfo,
  exchangeAuthorization,
  registerClient,
  startAuthorization,
} from "@modelcontextprotocol/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { postern } from "../support/command.ts";
import { linkOf, statusFor, textOf } from "./steps/mcp-client.ts";
import { assertPage, type Person } from "./steps/person.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const redirectUrl = "http://127.0.0.1:1/callback";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "postern-restore-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A consent that a person has finished and whose client has not come for its tokens; calling `redeem` is that. */
async function unredeemed({ baseUrl }: TestGateway, person: Person) {
  const resource = new URL("/mcp", baseUrl);
  const { authorizationServerUrl, authorizationServerMetadata: metadata } =
    await discoverOAuthServerInfo(resource);
  const clientMetadata = { redirect_uris: [redirectUrl], client_name: "Slow" };
  const clientInformation = await registerClient(authorizationServerUrl, { metadata, clientMetadata });
  const known = { metadata, clientInformation, resource };
  const started = await startAuthorization(authorizationServerUrl, { ...known, redirectUrl, scope: "mcp" });
  const answer = await person.allow(started.authorizationUrl, redirectUrl);
  return () =>
    exchangeAuthorization(authorizationServerUrl, {
      ...known,
      iss: answer.searchParams.get("iss") ?? undefined,
      authorizationCode: answer.searchParams.get("code")!,
      codeVerifier: started.codeVerifier,
      redirectUri: redirectUrl,
    });
}

function commands(gateway: TestGateway, databaseUrl: string) {
  const environment = {
    POSTERN_DATABASE_URL: databaseUrl,
    POSTERN_ENCRYPTION_KEY: gateway.options.encryptionKey!,
  };
  return (...args: string[]) => postern(args, environment, folder);
}

/** SQLite moves to Postgres; Postgres is restored in its place. */
async function place(stage: Stage, present: string): Promise<{ url: string; force: string[] }> {
  if (stage.kind === "postgres") return { url: present, force: ["--force"] };
  const { url, drop } = await freshPostgresDatabase();
  stage.keep({ close: drop });
  return { url, force: [] };
}

journeys("a backup made while serving, and restored after more has happened", (stage) => {
  // What tolerates a refresh token twice must go on; what does not must say why it asks.
  const tolerant = stage.kind === "sqlite";

  test("nothing counts twice, what still can goes on, and the rest says why it asks again", async () => {
    const home = await stage.household({ rotateRefreshTokens: !tolerant });
    const { gateway, guarded, person, admin } = home;
    const signedIn = await stage.signIn(gateway, person);
    assertPage(await person.connect(linkOf(await signedIn.client.callTool(whoami), "protected")));
    expect(textOf(await signedIn.client.callTool(whoami))).toBe("alice");
    const row = await admin.onlySession();
    const redeem = await unredeemed(gateway, person);
    const gone = await admin.createKey("Mallory", [home.upstreamId]);
    const here = commands(gateway, gateway.options.databaseUrl!);

    const file = join(folder, `${stage.kind}.backup`);
    const made = await here("backup", file);
    expect(made).toMatchObject({ code: 0, said: expect.stringContaining("encryption key is not in it") });

    // After the backup: a code is redeemed, a key is removed, and the provider's refresh token is used up.
    const used = await redeem();
    await admin.expect(200, "DELETE", `/api/governance/virtual-keys/${gone.id}`);
    stage.advance(5 * 60_000);
    guarded.provider.withdrawAccessTokens();
    expect(textOf(await signedIn.client.callTool(whoami))).toBe("alice");
    expect(guarded.provider.tokenCalls("refresh_token")).toBe(1);
    await gateway.close();

    const { url, force } = await place(stage, gateway.options.databaseUrl!);
    const there = commands(gateway, url);
    const wrong = await postern(["restore", file, ...force], {
      POSTERN_DATABASE_URL: url,
      POSTERN_ENCRYPTION_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64"),
    });
    expect(wrong).toMatchObject({ code: 2, said: expect.stringContaining("encryption key") });
    const restored = await there("restore", file, ...force);
    expect(restored, restored.said).toMatchObject({ code: 0 });
    expect(restored.said).toContain("is back. End it again");
    const again = await stage.open({ ...gateway.options, databaseUrl: url });

    // What was used since is not usable again, and what was given for it is unknown.
    await expect(redeem()).rejects.toThrow();
    expect(await statusFor(again.baseUrl, used.access_token)).toBe(401);
    // A revocation since is lost, which only the administrator can know.
    expect(await statusFor(again.baseUrl, gone.value)).toBe(200);
    expect((await home.operator.browser.get(`${again.baseUrl}/`)).html).not.toContain("Sign out");

    // The client's access token still counts, so its grant goes on; the provider's refresh token is from before.
    const client = await stage.client(again, signedIn);
    stage.advance(5 * 60_000);
    guarded.provider.withdrawAccessTokens();
    if (tolerant) expect(textOf(await client.callTool(whoami))).toBe("alice");
    else {
      const link = linkOf(await client.callTool(whoami), "protected");
      const reason = `restored_from_backup_of_${new Date().toISOString().slice(0, 10)}`;
      expect(await admin.onlySession({ kind: "token" })).toMatchObject({
        id: row.id,
        status: "needs_reauth",
        status_reason: reason,
      });
      assertPage(await person.connect(link));
      expect(textOf(await client.callTool(whoami))).toBe("alice");
    }
  }, 120_000);
});
