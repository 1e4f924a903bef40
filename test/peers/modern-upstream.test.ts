import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { Browser } from "./browser.ts";
import { type AuthorizationServerOptions, startAuthorizationServer } from "./identity-provider.ts";
import { type ModernUpstream, type ModernUpstreamOptions, startModernUpstream } from "./modern-upstream.ts";
import { OAuthPerson } from "./oauth-person.ts";

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});
function keep<T extends { close(): Promise<void> }>(one: T): T {
  open.push(one);
  return one;
}

async function protectedUpstream(options: AuthorizationServerOptions = {}) {
  const provider = keep(await startAuthorizationServer(options));
  const upstream = keep(await startModernUpstream({ protection: { kind: "oauth", provider } }));
  const person = new OAuthPerson(keep(new Browser()));
  return { provider, upstream, person };
}

function newClient(mode: "modern" | "legacy" = "modern"): Client {
  const versionNegotiation = { mode: mode === "modern" ? { pin: "2026-07-28" } : ("legacy" as const) };
  return keep(new Client({ name: "test", version: "1" }, { versionNegotiation }));
}

async function connect(upstream: ModernUpstream, person?: OAuthPerson, headers?: Record<string, string>) {
  const options = { ...(person && { authProvider: person }), ...(headers && { requestInit: { headers } }) };
  const transport = new StreamableHTTPClientTransport(new URL(upstream.url), options);
  const client = newClient();
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (!(error instanceof UnauthorizedError) || !person?.callback) throw error;
    await transport.finishAuth(person.callback);
    const second = newClient();
    await second.connect(new StreamableHTTPClientTransport(new URL(upstream.url), options));
    return second;
  }
}

const textOf = (result: { content?: unknown }) => (result.content as { text: string }[])[0]?.text;

describe("the OAuth-protected upstream", () => {
  test.each(["opaque", "jwt"] as const)(
    "the official client discovers, registers, signs in and calls (%s)",
    async (accessTokens) => {
      const { provider, upstream, person } = await protectedUpstream({ accessTokens });
      provider.accountForNextLogin = "bob";
      const client = await connect(upstream, person);
      expect(textOf(await client.callTool({ name: "whoami" }))).toBe("bob");
      expect(provider.lastAuthorize).toMatchObject({ resource: upstream.url, code_challenge_method: "S256" });
      expect(provider.lastRedirect?.searchParams.get("iss")).toBe(provider.issuer);
      expect(provider.requests.registration).toBe(1);
      expect(provider.tokenCalls("authorization_code")).toBe(1);
      expect(upstream.calls("tools/call")[0]?.headers.authorization).toBe(
        `Bearer ${person.saved?.access_token}`,
      );
    },
  );

  test("a withdrawn access token is refreshed once, and the refresh token rotates", async () => {
    const { provider, upstream, person } = await protectedUpstream();
    const client = await connect(upstream, person);
    const before = person.saved?.refresh_token;
    provider.withdrawAccessTokens();
    expect(textOf(await client.callTool({ name: "whoami" }))).toBe("alice");
    expect(provider.tokenCalls("refresh_token")).toBe(1);
    expect(person.saved?.refresh_token).not.toBe(before);
  });

  test("a token for another resource does not work", async () => {
    const { provider, upstream, person } = await protectedUpstream();
    const other = keep(await startModernUpstream({ protection: { kind: "oauth", provider } }));
    await connect(upstream, person);
    const headers = { authorization: `Bearer ${person.saved?.access_token}` };
    await expect(connect(other, undefined, headers)).rejects.toThrow();
    expect(await connect(upstream, undefined, headers)).toBeDefined();
  });

  test("says 401 when told to, with the challenge", async () => {
    const { upstream } = await protectedUpstream();
    upstream.rejectNext();
    const refused = await fetch(upstream.url, {
      method: "POST",
      body: "{}",
      headers: { authorization: "Bearer x" },
    });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("www-authenticate")).toContain(`resource_metadata="${upstream.metadataUrl}"`);
    const metadata = (await (await fetch(upstream.metadataUrl)).json()) as { resource: string };
    expect(metadata.resource).toBe(upstream.url);
  });
});

describe("the tools", () => {
  test.each([
    ["modern", "modern"],
    ["legacy", "legacy"],
    ["both", "modern"],
    ["both", "legacy"],
  ] as const)("an upstream of eras %s serves a %s client", async (eras, mode) => {
    const options: ModernUpstreamOptions = {
      eras,
      protection: { kind: "header", name: "x-api-key", accounts: { "key-1": "carol" } },
    };
    const upstream = keep(await startModernUpstream(options));
    const client = newClient(mode);
    const requestInit = { headers: { "x-api-key": "key-1" } };
    await client.connect(new StreamableHTTPClientTransport(new URL(upstream.url), { requestInit }));
    const { tools } = await client.listTools();
    expect(tools.map((t) => t.name).sort()).toEqual(["echo", "fail", "picture", "slow", "whoami"]);
    expect(textOf(await client.callTool({ name: "whoami" }))).toBe("carol");
    const echoed = await client.callTool({ name: "echo", arguments: { text: "hi" } });
    expect(echoed).toMatchObject({ structuredContent: { text: "hi", length: 2 } });
    expect(echoed._meta).toMatchObject({ "example.test/echoed": true });
    expect(await client.callTool({ name: "fail" })).toMatchObject({ isError: true });
    expect(await client.callTool({ name: "picture" })).toMatchObject({ content: [{ type: "image" }] });
  });

  test("slow reports progress, waits for its release and notices a cancellation", async () => {
    const upstream = keep(await startModernUpstream());
    const client = await connect(upstream);
    const seen: number[] = [];
    const progressed = Promise.withResolvers<void>();
    const onprogress = ({ progress }: { progress: number }) => {
      seen.push(progress);
      progressed.resolve();
    };
    const calling = client.callTool({ name: "slow" }, { onprogress });
    const call = await upstream.nextSlowCall();
    await call.progress(1, 2);
    await progressed.promise;
    call.release("at last");
    expect(textOf(await calling)).toBe("at last");
    expect(seen).toEqual([1]);

    const abort = new AbortController();
    const given = client.callTool({ name: "slow" }, { signal: abort.signal });
    const second = await upstream.nextSlowCall();
    abort.abort();
    await expect(given).rejects.toThrow();
    await second.cancelled;
  });

  test("a modern upstream refuses initialize, a legacy one knows no server/discover", async () => {
    const modern = keep(await startModernUpstream());
    const legacyClient = newClient("legacy");
    await expect(
      legacyClient.connect(new StreamableHTTPClientTransport(new URL(modern.url))),
    ).rejects.toThrow();
    const legacy = keep(await startModernUpstream({ eras: "legacy" }));
    await expect(
      newClient().connect(new StreamableHTTPClientTransport(new URL(legacy.url))),
    ).rejects.toThrow();
  });
});
