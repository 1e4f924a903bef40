import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { startEverythingUpstream } from "./everything-upstream.ts";

test("the official server-everything answers the official client on loopback and ends", async () => {
  const upstream = await startEverythingUpstream();
  const client = new Client({ name: "test", version: "1" });
  try {
    expect(new URL(upstream.url).hostname).toBe("127.0.0.1");
    await client.connect(new StreamableHTTPClientTransport(new URL(upstream.url)));
    const result = await client.callTool({ name: "echo", arguments: { message: "hello" } });
    expect(result.content).toEqual([{ type: "text", text: "Echo: hello" }]);
  } finally {
    await client.close();
    await upstream.close();
  }
  await expect(fetch(upstream.url)).rejects.toThrow();
});

test("it ends when the process that started it is killed", async () => {
  const starter = fileURLToPath(new URL("everything-upstream.ts", import.meta.url));
  const program = `
    const { startEverythingUpstream } = await import(${JSON.stringify(starter)});
    console.log((await startEverythingUpstream()).url);
    setInterval(() => {}, 1000);
  `;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", program]);
  const [line] = (await once(owner.stdout.setEncoding("utf8"), "data")) as [string];
  const url = line.trim();
  expect((await fetch(url)).status).toBe(400);
  owner.kill("SIGKILL");
  await expect
    .poll(
      () =>
        fetch(url).then(
          () => "answers",
          () => "gone",
        ),
      { timeout: 10_000 },
    )
    .toBe("gone");
});
