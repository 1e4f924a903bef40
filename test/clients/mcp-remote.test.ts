import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterAll, beforeAll, expect, test } from "vitest";
import { textOf } from "../journeys/steps/mcp-client.ts";
import { assertPage } from "../journeys/steps/person.ts";
import { type Household, Stage } from "../journeys/steps/stage.ts";
import { clientEnvironment, commandOf, temporaryHome } from "./client-process.ts";
import { connectedPerson, echo, whoami } from "./connected-person.ts";

const proxy = commandOf("mcp-remote/dist/proxy.js");
const stage = new Stage("sqlite");
let house: Household;
beforeAll(async () => {
  house = await connectedPerson(stage);
});
afterAll(() => stage.close());

/** A desktop client that starts mcp-remote, as its configuration says. */
async function startRemote(args: string[]): Promise<StdioClientTransport> {
  const home = stage.keep(await temporaryHome()).path;
  return new StdioClientTransport({
    command: process.execPath,
    args: [proxy, `${house.gateway.baseUrl}/mcp`, "--transport", "http-only", "--allow-http", ...args],
    env: clientEnvironment(home),
    cwd: home,
    stderr: "pipe",
  });
}

async function listAndCall(transport: StdioClientTransport): Promise<void> {
  const client = stage.keep(new Client({ name: "desktop", version: "1.0.0" }));
  await client.connect(transport);
  const names = (await client.listTools()).tools.map((tool) => tool.name);
  expect(names).toEqual(expect.arrayContaining([echo, whoami]));
  expect(textOf(await client.callTool({ name: whoami }))).toBe("alice");
}

test.each(["legacy", "auto"])("mcp-remote with a fixed header lists and calls (%s)", async (protocol) => {
  const header = `Authorization: Bearer ${house.key.value}`;
  await listAndCall(await startRemote(["--protocol", protocol, "--header", header]));
});

test("mcp-remote signs in through the browser, lists and calls", async () => {
  const transport = await startRemote([]);
  const walked = consentAt(transport.stderr as Readable);
  await Promise.all([listAndCall(transport), walked]);
});

/** The person behind the browser that mcp-remote opens: it prints the address it wants visited. */
async function consentAt(printed: Readable): Promise<void> {
  for await (const line of createInterface({ input: printed })) {
    const [url] = /http:\/\/\S+\/api\/oauth\/per-user\/authorize\?\S+/.exec(line) ?? [];
    if (!url) continue;
    await house.person.approve(url);
    // Its own little page on localhost says that it is done.
    assertPage(await house.person.browser.submitForm("/consent/submit"));
    printed.resume();
    return;
  }
}
