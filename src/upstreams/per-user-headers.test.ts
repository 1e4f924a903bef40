import { describe, expect, it } from "vitest";
import { checkDefinition, readHeaderValues } from "./index.ts";

const good = {
  name: "github",
  connection_string: "https://mcp.example/mcp",
  auth_type: "per_user_headers" as const,
};

describe("header names that each person fills in", () => {
  it("are kept as the administrator spelled them, beside static headers", () => {
    const definition = checkDefinition({
      ...good,
      per_user_header_keys: ["X-Api-Key", "Authorization"],
      headers: { "X-Tenant": "acme" },
    });
    expect(definition.perUserHeaderKeys).toEqual(["X-Api-Key", "Authorization"]);
    expect(Object.keys(definition.headers)).toEqual(["x-tenant"]);
  });

  it.each([
    ["Host", "reserved_header"],
    ["Content-Length", "reserved_header"],
    ["content-type", "reserved_header"],
    ["Transfer-Encoding", "reserved_header"],
    ["Connection", "reserved_header"],
    ["Cookie", "reserved_header"],
    ["Mcp-Session-Id", "reserved_header"],
    ["mcp-anything", "reserved_header"],
    ["Proxy-Authorization", "reserved_header"],
    ["__proto__", "invalid_header"],
    ["a b", "invalid_header"],
    ["", "invalid_header"],
    ["X-Clé", "invalid_header"],
  ])("UP-28 never is %j", (name, code) => {
    expect(() => checkDefinition({ ...good, per_user_header_keys: [name] })).toThrow(
      expect.objectContaining({ code, param: "per_user_header_keys" }),
    );
  });

  it("are at least one, each once, and of this kind only", () => {
    const fault = (body: object) => {
      try {
        checkDefinition({ ...good, ...body });
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "none";
    };
    expect(fault({})).toBe("headers_required");
    expect(fault({ per_user_header_keys: ["X-A", "x-a"] })).toBe("duplicate_header");
    expect(fault({ auth_type: "none", per_user_header_keys: ["X-A"] })).toBe("unsupported_field");
    expect(fault({ auth_type: "none", user_headers: { "X-A": "1" } })).toBe("unsupported_field");
    expect(fault({ auth_type: "none", per_user_header_keys: [] })).toBe("none");
  });
});

describe("one person's values", () => {
  const declared = ["X-Api-Key", "X-Region"];
  const read = (given: Record<string, string>) => readHeaderValues(declared, given, "headers");

  it("are found in any case; what is not declared is dropped", () => {
    const values = read({ "x-api-key": "one", "X-REGION": "eu west", Authorization: "Bearer no" });
    expect(Object.entries(values).map(([name, value]) => [name, value.reveal()])).toEqual([
      ["x-api-key", "one"],
      ["x-region", "eu west"],
    ]);
  });

  it("are all there, or the missing ones are named", () => {
    const thrown = expect.objectContaining({
      code: "headers_missing",
      param: "headers.X-Api-Key",
      message: "Enter a value for X-Api-Key, X-Region.",
    });
    expect(() => read({ "X-Region": "", "X-Other": "1" })).toThrow(thrown);
  });

  it.each([
    ["a line break", "MARK\r\nX-Evil: 1"],
    ["a line feed", "MARK\n"],
    ["NUL", "MARK\0"],
    ["other than ASCII", "MARKé"],
    ["64 KB", "MARK".repeat(16_384)],
    ["8 KB and one", `MARK${"x".repeat(8189)}`],
    ["a space before", " MARK"],
    ["a tab after", "MARK\t"],
  ])("UP-28 a value with %s is refused by the name of its field", (_what, value) => {
    let fault: unknown;
    try {
      read({ "X-Api-Key": value, "X-Region": "eu" });
    } catch (error) {
      fault = error;
    }
    expect(fault).toMatchObject({ code: "invalid_header", param: "headers.X-Api-Key", status: 400 });
    expect(`${(fault as Error).message}${JSON.stringify(fault)}`).not.toContain("MARK");
  });

  it("are refused when one name comes in two spellings", () => {
    const thrown = expect.objectContaining({ code: "duplicate_header" });
    expect(() => read({ "X-Region": "eu", "X-Api-Key": "1", "x-api-key": "2" })).toThrow(thrown);
  });
});
