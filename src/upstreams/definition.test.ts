import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { checkDefinition, checkForwardedHeader, type DefinitionBody, definitionBody } from "./index.ts";

const good: DefinitionBody = { name: "a", connection_string: "https://a.example/mcp" };
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const key = privateKey.export({ format: "jwk" }) as Record<string, unknown>;
const alone = { grant_type: "client_credentials" as const, client_id: "x" };

describe("a definition", () => {
  it.each(["a-b", "a b", "1a", "ä", "", "a/b", "a".repeat(65)])("refuses the name %j", (name) => {
    expect(definitionBody.safeParse({ ...good, name }).success).toBe(false);
  });

  it("AD-11 refuses fields it does not know", () => {
    expect(definitionBody.safeParse({ ...good, state: "healthy" }).success).toBe(false);
    expect(definitionBody.safeParse({ ...good, oauth_config: { issuer: "x" } }).success).toBe(false);
  });

  it.each([
    [{ connection_type: "stdio", stdio_config: { command: "sh" } }, "unsupported_connection_type"],
    [{ auth_type: "token_exchange" }, "token_url_required"],
    [{ stdio_config: { command: "sh" } }, "unsupported_field"],
    [{ oauth_config: { client_id: "x" } }, "unsupported_field"],
    [{ auth_type: "headers" }, "headers_required"],
    [{ connection_string: "file:///etc/passwd" }, "invalid_url"],
    [{ connection_string: "https://u:p@a.example/" }, "invalid_url"],
    [{ connection_string: "https://a.example/#x" }, "invalid_url"],
    [{ connection_string: undefined }, "invalid_request"],
    [{ auth_type: "per_user_oauth", oauth_config: { client_secret: "s" } }, "client_id_required"],
    [{ auth_type: "per_user_oauth", oauth_config: { token_url: "javascript:alert(1)" } }, "invalid_url"],
    [{ auth_type: "per_user_oauth", headers: { Authorization: "Bearer x" } }, "reserved_header"],
    [{ auth_type: "oauth", oauth_config: { private_key: key } }, "client_id_required"],
    [{ auth_type: "oauth", oauth_config: { grant_type: "client_credentials" } }, "client_id_required"],
    [{ auth_type: "oauth", oauth_config: { ...alone } }, "client_secret_required"],
    [{ auth_type: "per_user_oauth", oauth_config: { ...alone, client_secret: "s" } }, "unsupported_field"],
    [
      {
        auth_type: "oauth",
        oauth_config: { client_id: "x", client_secret: "s", token_endpoint_auth_method: "private_key_jwt" },
      },
      "client_secret_required",
    ],
    [
      {
        auth_type: "per_user_oauth",
        oauth_config: { client_id: "x", private_key: key, token_endpoint_auth_method: "client_secret_post" },
      },
      "client_secret_required",
    ],
    [{ auth_type: "oauth", oauth_config: { client_id: "x", private_key: "no" } }, "invalid_private_key"],
    [{ auth_type: "oauth", oauth_config: { client_id: "x", private_key: "********" } }, "secret_required"],
    [{ auth_type: "oauth", headers: { Authorization: "Bearer x" } }, "reserved_header"],
  ] as [Partial<DefinitionBody>, string][])("refuses %j with %s", (change, code) => {
    expect(() => checkDefinition({ ...good, ...change })).toThrow(
      expect.objectContaining({ code, kind: "invalid" }),
    );
  });

  it.each([
    ["Host", "x", "reserved_header"],
    ["Mcp-Session-Id", "x", "reserved_header"],
    ["transfer-encoding", "chunked", "reserved_header"],
    ["Proxy-Authorization", "x", "reserved_header"],
    ["X-Key", "a\r\nHost: evil", "invalid_header"],
    ["X-Key", "a\nb", "invalid_header"],
    ["X-Key", "a\0", "invalid_header"],
    ["X-Key", "", "invalid_header"],
    ["X Key", "a", "invalid_header"],
    ["X-Key:", "a", "invalid_header"],
  ])("UP-28 refuses the header %j: %j", (name, value, code) => {
    const body = { ...good, auth_type: "headers" as const, headers: { [name]: value } };
    expect(() => checkDefinition(body)).toThrow(expect.objectContaining({ code, param: `headers.${name}` }));
  });

  it.each([
    { ...alone, client_secret: "s" },
    { ...alone, private_key: key },
    {
      ...alone,
      private_key: JSON.stringify(key),
      client_secret: "s",
      token_endpoint_auth_method: "private_key_jwt",
    },
  ] as DefinitionBody["oauth_config"][])("takes client credentials %#, secrets hidden", (oauth_config) => {
    const definition = checkDefinition({ ...good, auth_type: "oauth", oauth_config });
    expect(definition.oauth).toMatchObject({ grantType: "client_credentials", clientId: "x" });
    expect(JSON.stringify(definition)).not.toContain(key.d);
    expect(JSON.stringify(definition.oauth)).not.toContain('privateKey":');
  });

  it("refuses one header twice in another case", () => {
    const body = { ...good, headers: { "X-Key": "a", "x-key": "b" } };
    expect(() => checkDefinition(body)).toThrow(expect.objectContaining({ code: "duplicate_header" }));
  });

  it.each(["Authorization", "cookie", "x-bf-vk", "X-Api-Key", "host"])("never forwards %s", (name) => {
    expect(() => checkForwardedHeader(name)).toThrow(expect.objectContaining({ code: "reserved_header" }));
  });
});
