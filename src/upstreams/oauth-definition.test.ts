import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { checkDefinition, type DefinitionBody } from "./index.ts";
import { AS, behaving, registering, start } from "./oauth.suite.ts";
import { definitionOf } from "./view.ts";

type OAuthConfig = NonNullable<DefinitionBody["oauth_config"]>;

const idp = { token_url: "https://idp.example/token", client_id: "gateway" };
const define = (
  oauth_config: OAuthConfig,
  isFromFile = false,
  auth_type: "oauth" | "per_user_oauth" = "oauth",
) =>
  checkDefinition(
    { name: "up", connection_string: "https://mcp.example/mcp", auth_type, oauth_config },
    undefined,
    undefined,
    isFromFile,
  );

describe("grants that show something", () => {
  it.each<[OAuthConfig, string, string]>([
    [{ grant_type: "jwt_bearer" }, "assertion_required", "assertion"],
    [{ grant_type: "jwt_bearer", assertion: "a.b.c", idp }, "unsupported_field", "idp"],
    [{ grant_type: "token_exchange", assertion: "a" }, "idp_required", "idp"],
    [{ grant_type: "token_exchange", idp }, "assertion_required", "assertion"],
    [{ assertion: "a.b.c" }, "unsupported_field", "assertion"],
    [
      { grant_type: "client_credentials", client_id: "c", client_secret: "s", assertion: "a" },
      "unsupported_field",
      "assertion",
    ],
    [{ grant_type: "jwt_bearer", assertion: "********" }, "secret_required", "assertion"],
    [
      { grant_type: "token_exchange", assertion: "a", idp: { ...idp, token_url: "ftp://x" } },
      "invalid_url",
      "idp.token_url",
    ],
  ])("%j is refused with %s", (config, code, field) => {
    expect(() => define(config)).toThrow(expect.objectContaining({ code, param: `oauth_config.${field}` }));
  });

  it("AD-07 read a file of this machine only where its operator says so", () => {
    const config = { grant_type: "jwt_bearer", assertion_file: "/var/run/token" } as const;
    expect(() => define(config)).toThrow(expect.objectContaining({ param: "oauth_config.assertion_file" }));
    expect(define(config, true).oauth).toMatchObject({ assertionFile: "/var/run/token" });
    expect(() => define({ ...config, assertion_file: "token" }, true)).toThrow("absolute path");
    expect(() => define({ ...config, assertion: "a.b.c" }, true)).toThrow("either");
  });

  it("are for one credential that everybody uses", () => {
    const config = { grant_type: "jwt_bearer", assertion: "a.b.c" } as const;
    expect(() => define(config, false, "per_user_oauth")).toThrow(
      expect.objectContaining({ code: "unsupported_field", param: "oauth_config.grant_type" }),
    );
  });
});

onBothDatabases("what is shown for a token of the gateway's own", (open) => {
  async function shown(oauth_config: OAuthConfig) {
    const { mcp, as, metadata } = await behaving();
    as.answers[AS] = { issuer: as.origin, token_endpoint: metadata.token_endpoint };
    as.answers["POST /register"] = registering({ client_id: "dcr-1" });
    const { database } = await open();
    const changes = { auth_type: "oauth" as const, oauth_config };
    const gateway = await start([mcp, as], `${mcp.origin}/mcp`, changes, {}, database);
    return { ...gateway, mcp, as };
  }
  const exchanging = {
    grant_type: "token_exchange",
    assertion: "the-id-token",
    client_id: "gateway",
    client_secret: "as-secret",
    idp: { ...idp, client_secret: "idp-secret" },
  } as const;

  it("is sealed, shown to nobody as a value, and kept when it is sent back redacted", async () => {
    const { upstreams, upstream, oauth, database } = await shown(exchanging);
    const found = await oauth.prepare(upstream);
    expect((await found.assertion?.())?.reveal()).toBe("the-id-token");
    expect(found.idp?.clientSecret?.reveal()).toBe("idp-secret");
    const view = definitionOf(upstream);
    expect(view.oauth_config).toMatchObject({ assertion: "********", idp: { client_secret: "********" } });
    expect(
      JSON.stringify([view, await database.db.selectFrom("oauth_configs").selectAll().execute()]),
    ).not.toMatch(/the-id-token|idp-secret|as-secret/);
    const again = { oauth_config: view.oauth_config };
    const { oauthVersion, generation } = await upstreams.update(upstream.id, again);
    const same = await upstreams.update(upstream.id, again);
    expect(same).toMatchObject({ oauthVersion, generation });
    expect((await (await oauth.recorded(same))?.assertion?.())?.reveal()).toBe("the-id-token");
  });

  it("is replaced without a new discovery, and a new token follows from that", async () => {
    const { upstreams, upstream, oauth, mcp } = await shown(exchanging);
    await oauth.prepare(upstream);
    const unchanged = { oauth_config: { assertion: "the-id-token" } };
    const { oauthVersion, generation } = await upstreams.update(upstream.id, unchanged);
    mcp.seen.length = 0;
    const changed = await upstreams.update(upstream.id, { oauth_config: { assertion: "the-next-one" } });
    expect(changed.oauthVersion).not.toBe(oauthVersion);
    expect(changed.generation).toBe(generation);
    expect((await (await oauth.recorded(changed))?.assertion?.())?.reveal()).toBe("the-next-one");
    expect(mcp.seen).toEqual([]);
  });

  it("AD-10 is not aimed at another identity provider, address or resource", async () => {
    const { upstreams, upstream } = await shown(exchanging);
    const client_secret = "********";
    for (const change of [
      { idp: { ...idp, token_url: "https://evil.example/token", client_secret } },
      { token_url: "https://evil.example/token" },
      { resource: "https://evil.example/" },
    ]) {
      await expect(upstreams.update(upstream.id, { oauth_config: change })).rejects.toMatchObject({
        code: "secret_required",
      });
    }
  });

  it("R9 is not shown to another authorization server that the upstream names later", async () => {
    const { upstream, oauth, mcp } = await shown({ grant_type: "jwt_bearer", assertion: "a.b.c" });
    // Without a client id of its own: the JWT says who it is.
    expect((await oauth.prepare(upstream)).client.client_id).toMatch(/\/oauth\/client\/mcp_.*\.json$/);
    const { as: next } = await behaving();
    const place = "GET /.well-known/oauth-protected-resource/mcp";
    mcp.answers[place] = { resource: `${mcp.origin}/mcp`, authorization_servers: [next.origin] };
    await expect(oauth.renew(upstream, async () => {})).rejects.toMatchObject({ kind: expect.any(String) });
    expect(JSON.stringify(next.seen)).not.toContain("a.b.c");
  });

  it("is read from its file each time, as the platform writes it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "postern-assertion-"));
    try {
      const file = join(folder, "token");
      const { mcp, as, metadata } = await behaving();
      as.answers[AS] = { issuer: as.origin, token_endpoint: metadata.token_endpoint };
      const { database } = await open();
      const { oauth, upstreams } = await start([mcp, as], `${mcp.origin}/mcp`, {}, {}, database);
      const oauth_config = { grant_type: "jwt_bearer", client_id: "w", assertion_file: file } as const;
      const body = {
        name: "file",
        connection_string: `${mcp.origin}/mcp`,
        auth_type: "oauth",
        oauth_config,
      } as const;
      const upstream = await upstreams.create(checkDefinition(body, undefined, undefined, true), "file");
      const { assertion } = await oauth.prepare(upstream);
      expect(await assertion?.()).toBeUndefined();
      await writeFile(file, "first.jwt.x\n");
      expect((await assertion?.())?.reveal()).toBe("first.jwt.x");
      await writeFile(file, "second.jwt.x");
      expect((await assertion?.())?.reveal()).toBe("second.jwt.x");
      for (const bad of ["", "two words", "a\r\nb: c", "x".repeat(70_000)]) {
        await writeFile(file, bad);
        expect(await assertion?.()).toBeUndefined();
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
