import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterAll, expect, test } from "vitest";
import { textOf } from "../journeys/steps/mcp-client.ts";
import { assertPage } from "../journeys/steps/person.ts";
import { type Household, Stage } from "../journeys/steps/stage.ts";
import { textOf as pageText } from "../peers/browser.ts";
import { clientEnvironment, commandOf, temporaryHome } from "./client-process.ts";
import { whoami } from "./connected-person.ts";

const stage = new Stage("sqlite");
afterAll(() => stage.close());

/** What an SSH session of a person shows: mcp-remote with nothing it could open, and nothing it could listen on. */
async function startRemote({ gateway }: Household): Promise<StdioClientTransport> {
  const home = stage.keep(await temporaryHome()).path;
  const proxy = commandOf("mcp-remote/dist/proxy.js");
  const args = [`${gateway.baseUrl}/mcp`, "--transport", "http-only", "--allow-http", "--device-code"];
  return new StdioClientTransport({
    command: process.execPath,
    args: [proxy, ...args],
    env: clientEnvironment(home),
    cwd: home,
    stderr: "pipe",
  });
}

/** The one string that is pasted, from the terminal into the browser of another machine. */
async function printedLink(printed: Readable): Promise<string> {
  for await (const line of createInterface({ input: printed })) {
    const [url] = /http:\/\/\S+\/device\?user_code=\S+/.exec(line) ?? [];
    if (!url) continue;
    printed.resume();
    return url;
  }
  throw new Error("mcp-remote printed no link");
}

test("a terminal without a browser connects the gateway and an upstream with one pasted string", async () => {
  const house = await stage.household();
  const transport = await startRemote(house);
  const client = stage.keep(new Client({ name: "terminal", version: "1.0.0" }));
  const connecting = client.connect(transport);
  const { browser } = house.person;
  const link = await printedLink(transport.stderr as Readable);
  expect(pageText(assertPage(await browser.get(link), "/device").html)).toContain("exactly this code");
  const asked = assertPage(await browser.submitForm("/device"), "/device");
  expect(pageText(asked.html)).toContain("Asked from");
  assertPage(await browser.submitForm("/device/allow"), "/oauth/consent");
  assertPage(await browser.submitForm("/consent/vk", { vk: house.key.value }), "/oauth/consent/mcps");
  assertPage(await browser.click(/Connect/), "/oauth/consent/mcps");
  const end = assertPage(await browser.submitForm("/consent/submit"));
  expect(pageText(end.html)).toContain("You can go back to your device");
  await connecting;
  expect(textOf(await client.callTool({ name: whoami }))).toBe("alice");
});
