import { describe, expect, it } from "vitest";
import { shownName } from "./client-name.ts";
import {
  formActionSource,
  matchesRedirectUri,
  redirectHost,
  redirectUriFault,
  withParameters,
} from "./redirect-uri.ts";

const settings = { nativeRedirectSchemes: ["cursor", "vscode"] };

describe("redirect URIs", () => {
  it.each([
    "https://claude.ai/api/mcp/auth_callback",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:33418/",
    "http://[::1]/cb",
    "http://localhost/cb",
    "http://localhost:8787",
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "https://app.example/cb?tenant=1",
    "https://xn--pple-43d.example/cb",
  ])("accepts %s", (uri) => {
    expect(redirectUriFault(uri, settings)).toBeUndefined();
  });

  it.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://x",
    "file:///x",
    "about:blank",
    "ftp://app.example/cb",
    "ws://app.example/cb",
    "intent://x",
    "http://app.example/cb",
    "myapp:/cb",
    "cursor:javascript",
  ])("RG-01 refuses the scheme of %j", (uri) => {
    expect(redirectUriFault(uri, settings)).toBeDefined();
  });

  it.each([
    "https://*.example/cb",
    "https://user:pw@app.example/cb",
    "https://app.example@evil.example/cb",
    "https://app.example\\@evil.example/cb",
    "http://localhost.evil.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://0.0.0.0/cb",
    "http://[::]/cb",
    "http://[::ffff:127.0.0.1]/cb",
    "http://0x7f.1/cb",
    "https://app.example:0/cb",
    "https:///cb",
    "https://app.example/cb#f",
    "https://app.example/cb#",
    "https://аpple.example/cb",
    `https://app.example/${"x".repeat(2000)}`,
    "HTTPS://APP.EXAMPLE/cb",
    "https://app.example:443/cb",
    "https://app.example/a/../cb",
    "https://app.example/cb?code=evil",
    "https://app.example/cb?a=1&state=evil",
    "//evil.example/cb",
    "/cb",
    "",
  ])("RG-02 AZ-12 AZ-13 refuses %s", (uri) => {
    expect(redirectUriFault(uri, settings)).toBeDefined();
  });

  it("RFC 8252 §7.3: only the port of a loopback URI is free", () => {
    const is = (registered: string, presented: string) => matchesRedirectUri(registered, presented);
    expect(is("http://localhost/callback", "http://localhost:51004/callback")).toBe(true);
    expect(is("http://127.0.0.1:7777/cb", "http://127.0.0.1:7778/cb")).toBe(true);
    expect(is("http://[::1]/cb?x=1", "http://[::1]:9/cb?x=1")).toBe(true);
    expect(is("http://127.0.0.1/cb", "http://localhost/cb")).toBe(false);
    expect(is("http://127.0.0.1/cb", "https://127.0.0.1/cb")).toBe(false);
    expect(is("http://127.0.0.1/cb", "http://127.0.0.1:70000/cb")).toBe(false);
    expect(is("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb")).toBe(false);
    expect(is("https://app.example/cb", "https://app.example:8443/cb")).toBe(false);
  });

  it("keeps the client's query byte for byte", () => {
    expect(withParameters("https://a.example/cb?x=%7e&y=a+b", { code: "1&2", state: undefined })).toBe(
      "https://a.example/cb?x=%7e&y=a+b&code=1%262",
    );
  });

  it("names hosts and CSP sources", () => {
    expect(redirectHost("https://xn--pple-43d.example/cb")).toBe("xn--pple-43d.example");
    expect(redirectHost("cursor://anysphere.cursor-mcp/x")).toBe("cursor://anysphere.cursor-mcp");
    expect(formActionSource("http://[::1]:9/cb")).toBe("http:");
    expect(formActionSource("cursor://x/y")).toBe("cursor:");
    expect(formActionSource("https://a.example/cb")).toBe("https://a.example");
  });

  it("CB-16 names lose what cannot be seen, and everything after 80 characters", () => {
    expect(shownName("Claude\u202Eedoc")).toBe("Claudeedoc");
    expect(shownName("a\u200bb\u2066c\ufeffd\u0000e\u00ad")).toBe("abcde");
    expect(shownName("  one\n\n two\t")).toBe("one two");
    expect([...shownName("😀".repeat(5000))]).toHaveLength(80);
  });
});
