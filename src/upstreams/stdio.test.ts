import { expect, it } from "vitest";
import {
  ConfigurationFault,
  checkDefinition,
  type DefinitionBody,
  definitionBody,
  stdioCommands,
} from "./index.ts";

const variables = {
  PATH: "/bin",
  HOME: "/home/x",
  LANG: "C",
  TOKEN: "t0ken",
  POSTERN_ADMIN_TOKEN: "no",
  OTHER: "no",
};

function entry(
  stdio_config: DefinitionBody["stdio_config"],
  more: Partial<DefinitionBody> = {},
): DefinitionBody {
  return { name: "local", connection_type: "stdio", stdio_config, ...more };
}

it("ST-14 a program gets PATH, HOME, LANG and what is named, and its values are hidden", () => {
  const { args, env, command, secrets } = stdioCommands(
    [entry({ command: "npx", args: ["-y", "pkg"], envs: ["TOKEN"], env: { KEY: "value" } })],
    variables,
  ).get("local")!;
  const values = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.reveal()]));
  expect(values).toEqual({ PATH: "/bin", HOME: "/home/x", LANG: "C", TOKEN: "t0ken", KEY: "value" });
  expect([command, ...args.map((arg) => arg.reveal())]).toEqual(["npx", "-y", "pkg"]);
  expect(secrets).toEqual(["TOKEN", "KEY"]);
  expect(JSON.stringify({ args, env })).not.toMatch(/t0ken|pkg/);
});

it.each([
  [{ command: "npx", envs: ["MISSING"] }, /MISSING is not set/],
  [{ command: "./server" }, /absolute path/],
  [{ command: "bin/server" }, /absolute path/],
  ...[
    "NODE_OPTIONS",
    "LD_PRELOAD",
    "PATH",
    "PYTHONSTARTUP",
    "GIT_SSH_COMMAND",
    "POSTERN_ADMIN_TOKEN",
  ].flatMap((name): [object, RegExp][] => [
    [{ command: "npx", env: { [name]: "x" } }, /not passed on/],
    [{ command: "npx", envs: [name] }, /not passed on/],
  ]),
] as [{ command: string }, RegExp][])("AD-08 stops the start for %j", (config, message) => {
  expect(() => stdioCommands([entry(config)], variables)).toThrow(ConfigurationFault);
  expect(() => stdioCommands([entry(config)], variables)).toThrow(message);
  expect(stdioCommands([entry(config, { disabled: true })], variables).size).toBe(0);
});

it.each([
  [{ command: "" }],
  [{ command: "a\0b" }],
  [{ command: "a", args: ["\0"] }],
  [{ command: "a", envs: ["A=B"] }],
  [{ command: "a", env: { "A B": "x" } }],
  [{ command: "a", shell: true }],
])("the schema refuses %j", (stdio_config) => {
  expect(definitionBody.safeParse({ name: "a", connection_type: "stdio", stdio_config }).success).toBe(false);
});

it.each([
  [{ auth_type: "per_user_headers", per_user_header_keys: ["X-Key"] }, "unsupported_auth_type"],
  [{ auth_type: "per_user_oauth" }, "unsupported_auth_type"],
  [{ auth_type: "oauth" }, "unsupported_auth_type"],
  [{ auth_type: "headers", headers: { a: "b" } }, "unsupported_auth_type"],
  [{ headers: { a: "b" } }, "unsupported_field"],
  [{ connection_string: "https://a.example" }, "unsupported_field"],
  [{ stdio_config: undefined }, "invalid_request"],
] as [Partial<DefinitionBody>, string][])("a program with %j is refused with %s", (change, code) => {
  const body = { ...entry({ command: "npx" }), ...change };
  expect(() => checkDefinition(body, undefined, () => false, true)).toThrow(
    expect.objectContaining({ code }),
  );
});

it("AD-07 over the API there are no programs", () => {
  expect(() => checkDefinition(entry({ command: "npx" }))).toThrow(
    expect.objectContaining({ code: "unsupported_connection_type", kind: "invalid" }),
  );
});
