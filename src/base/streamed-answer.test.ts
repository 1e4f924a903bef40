import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Outbound, type OutboundAnswer, OutboundError, openOutbound } from "./index.ts";

let server: Server;
let outbound: Outbound;
let url: URL;
let connections: number;
let reply: (response: ServerResponse, request: IncomingMessage) => void;

beforeEach(async () => {
  connections = 0;
  server = createServer((request, response) => reply(response, request));
  server.on("connection", () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  outbound = openOutbound({ allow: { admin: [`127.0.0.1:${port}`], stranger: [] } });
  url = new URL(`http://127.0.0.1:${port}/`);
});

afterEach(async () => {
  await outbound.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function ask(signal?: AbortSignal): Promise<OutboundAnswer> {
  return outbound.request(url, { method: "POST", headers: {}, body: "x", signal });
}

const KIB = 1024;

it("a reader that is slow holds the sender back instead of filling memory", async () => {
  const total = 64 * KIB * KIB;
  let taken = 0;
  reply = (response) => {
    const more = () => {
      while (taken < total) {
        taken += 64 * KIB;
        if (!response.write(Buffer.alloc(64 * KIB))) return void response.once("drain", more);
      }
      response.end();
    };
    more();
  };
  const { body } = await ask();
  const reader = body[Symbol.asyncIterator]();
  await reader.next();
  let before = -1;
  // What the sockets' own buffers hold is all that is sent while nobody reads.
  await expect
    .poll(() => {
      const still = before === taken;
      before = taken;
      return still;
    })
    .toBe(true);
  expect(taken).toBeLessThan(total / 2);
  let read = 64 * KIB;
  for (let next = await reader.next(); !next.done; next = await reader.next()) read += next.value.length;
  expect(taken).toBe(total);
  expect(read).toBeGreaterThanOrEqual(total);
});

it("what is discarded within its limits leaves the connection for the next request, beyond them it ends it", async () => {
  reply = (response) => response.end(Buffer.alloc(10 * KIB));
  for (const _ of [1, 2, 3]) {
    const { body } = await ask();
    body.discard({ bytes: 20 * KIB, ms: 5_000 });
    await (await ask()).body.bytes(20 * KIB);
  }
  const reused = connections;
  expect(reused).toBeLessThanOrEqual(2);
  const closed = Promise.withResolvers<void>();
  reply = (response) => {
    response.on("close", closed.resolve);
    const flood = () => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * KIB)));
    };
    response.on("drain", flood);
    flood();
  };
  (await ask()).body.discard({ bytes: 20 * KIB, ms: 60_000 });
  await closed.promise;
});

it("a body that is too large ends its connection, with or without a length", async () => {
  for (const headers of [{}, { "content-length": String(30 * KIB) }]) {
    const closed = Promise.withResolvers<void>();
    reply = (response) => {
      response.on("close", closed.resolve);
      response.writeHead(200, headers);
      response.write(Buffer.alloc(25 * KIB));
    };
    const { body } = await ask();
    await expect(body.bytes(20 * KIB)).rejects.toMatchObject({ reason: "too_large" });
    await closed.promise;
  }
});

it("the caller leaving ends the exchange before the answer and in the middle of it", async () => {
  const closed = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  reply = (response) => {
    response.on("close", closed.resolve);
    asked.resolve();
  };
  const leave = new AbortController();
  const answer = ask(leave.signal);
  await asked.promise;
  leave.abort();
  await expect(answer).rejects.toMatchObject({ reason: "aborted" });
  await closed.promise;

  reply = (response) => {
    response.write("half");
  };
  const again = new AbortController();
  const { body } = await ask(again.signal);
  const whole = body.bytes(KIB);
  again.abort();
  await expect(whole).rejects.toBeInstanceOf(OutboundError);
});

it("a connection that breaks in the middle of a body is an error, not an end", async () => {
  reply = (response) => {
    response.write("half", () => response.socket?.destroy());
  };
  const { body } = await ask();
  await expect(body.bytes(KIB)).rejects.toThrow();
  const pieces = (await ask()).body;
  await expect(
    (async () => {
      for await (const _ of pieces);
    })(),
  ).rejects.toThrow();
});
