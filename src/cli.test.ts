import { expect, it } from "vitest";
import { helpText, parseCommandLine } from "./cli.ts";

it("without a command, and with options alone, it serves", () => {
  expect(parseCommandLine([])).toEqual({ ask: "run", name: "serve", args: [] });
  expect(parseCommandLine(["--config", "x"])).toEqual({
    ask: "run",
    name: "serve",
    args: ["--config", "x"],
  });
  expect(parseCommandLine(["serve", "--config", "x"])).toEqual(parseCommandLine(["--config", "x"]));
});

it("help is there before, after and in place of a command; every command has a usage of its own", async () => {
  expect(parseCommandLine(["--help"])).toEqual({ ask: "help" });
  expect(parseCommandLine(["help"])).toEqual({ ask: "help", of: undefined });
  expect(parseCommandLine(["help", "serve"])).toEqual({ ask: "help", of: "serve" });
  expect(parseCommandLine(["serve", "-h"])).toEqual({ ask: "help", of: "serve" });
  expect(parseCommandLine(["--version"])).toEqual({ ask: "version" });
  const overview = await helpText();
  for (const [, name = ""] of overview.matchAll(/^ {2}([a-z]+) /gm))
    if (name !== "help") expect(await helpText(name)).toMatch(new RegExp(`^Usage: postern \\[?${name}`));
});

it("an unknown command names the nearest", () => {
  expect(() => parseCommandLine(["srve"])).toThrow("Unknown command: srve. Did you mean serve?");
  expect(() => parseCommandLine(["help", "constructor"])).toThrow("Unknown command: constructor.");
});
