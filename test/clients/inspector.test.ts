import { afterAll, beforeAll, expect, test } from "vitest";
import { type Household, Stage } from "../journeys/steps/stage.ts";
import { commandOf, runToEnd, temporaryHome } from "./client-process.ts";
import { connectedPerson, echo, whoami } from "./connected-person.ts";

const inspector = commandOf("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
const stage = new Stage("sqlite");
let house: Household;
let home: string;
beforeAll(async () => {
  house = await connectedPerson(stage);
  home = stage.keep(await temporaryHome()).path;
});
afterAll(() => stage.close());

/** One command of the Inspector's CLI with a bearer header; resolves with the JSON it prints. */
async function inspect(era: string, method: string, ...args: string[]): Promise<unknown> {
  const finished = await runToEnd(
    inspector,
    [
      "--cli",
      "--server-url",
      `${house.gateway.baseUrl}/mcp`,
      "--transport",
      "http",
      "--protocol-era",
      era,
      "--header",
      `Authorization: Bearer ${house.key.value}`,
      "--method",
      method,
      "--format",
      "json",
      "--quiet",
      ...args,
    ],
    home,
  );
  expect(finished, finished.stderr).toMatchObject({ code: 0 });
  return JSON.parse(finished.stdout);
}

test.each(["legacy", "modern"])("MCP Inspector's CLI lists and calls (%s)", async (era) => {
  const listed = await inspect(era, "tools/list");
  expect(JSON.stringify(listed)).toContain(echo);
  const called = await inspect(era, "tools/call", "--tool-name", whoami);
  expect(JSON.stringify(called)).toContain("alice");
});
