import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Household, Stage } from "../journeys/steps/stage.ts";
import { OAuthPerson } from "../peers/oauth-person.ts";
import { connectedPerson, echo, whoami } from "./connected-person.ts";

const stage = new Stage("sqlite");
let house: Household;
beforeAll(async () => {
  house = await connectedPerson(stage);
});
afterAll(() => stage.close());

function newClient(): Client {
  return stage.keep(new Client({ name: "sdk-v1", version: "1.0.0" }));
}

test("the official SDK v1 client signs in by itself, lists and calls", async () => {
  const { gateway, person } = house;
  const oauth = new OAuthPerson(person.browser, {
    walk: (_browser, url) => person.allow(url, oauth.redirectUrl),
  });
  const url = new URL("/mcp", gateway.baseUrl);
  // The older SDK has the same provider with fewer details.
  const authProvider = oauth as never;
  const refused = new StreamableHTTPClientTransport(url, { authProvider });
  await expect(newClient().connect(refused)).rejects.toThrow(UnauthorizedError);
  await refused.finishAuth(oauth.callback?.get("code") ?? "");

  const client = newClient();
  await client.connect(new StreamableHTTPClientTransport(url, { authProvider }));
  expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(
    expect.arrayContaining([echo, whoami]),
  );
  expect(await client.callTool({ name: whoami })).toMatchObject({ content: [{ text: "alice" }] });
  expect(await client.callTool({ name: echo, arguments: { text: "hi" } })).toMatchObject({
    structuredContent: { text: "hi", length: 2 },
    _meta: { "example.test/echoed": true },
  });
  await client.ping();
});
