import { createServer } from "node:http";
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import {
  admin,
  canary,
  closing,
  failure,
  listen,
  open,
  resolveTestNames,
  serve,
  speak,
} from "./guarded.suite.ts";
import { redirectTarget } from "./guarded.ts";
import type { Outbound } from "./outbound.ts";
import { OutboundError, outboundFailure } from "./outbound-error.ts";

/** `/hop/3` redirects to `/hop/2` and so on to `/hop/0`; notes what arrived. */
async function hops(status = 302) {
  const seen: { method?: string; url?: string; authorization?: string; key?: string }[] = [];
  const port = await serve((request, response) => {
    const left = Number(request.url?.split("/")[2] ?? 0);
    const { authorization, "x-api-key": key } = request.headers as Record<string, string>;
    seen.push({ method: request.method, url: request.url, authorization, key });
    if (left > 0) response.writeHead(status, { location: `/hop/${left - 1}` }).end("moved");
    else response.end("arrived");
  });
  return { port, seen, base: `http://127.0.0.1:${port}` };
}

test("UP-14 a redirect is returned as it is unless asked; two hops at most, then as it is", async () => {
  const { port, seen, base } = await hops();
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  const plain = await outbound.fetch(`${base}/hop/1`, admin);
  expect([plain.status, plain.headers.get("location"), seen.length]).toEqual([302, "/hop/0", 1]);
  const followed = await outbound.fetch(`${base}/hop/2`, { ...admin, redirects: 2 });
  expect([followed.status, followed.url, await followed.text()]).toEqual([200, `${base}/hop/0`, "arrived"]);
  seen.length = 0;
  const chain = await outbound.fetch(`${base}/hop/50`, { ...admin, redirects: 2 });
  expect([chain.status, seen.length]).toEqual([302, 3]);
});

test.each([301, 302, 303, 307, 308])(
  "UP-14 a POST is not followed on %i, nor is a GET with credentials",
  async (status) => {
    const { port, seen, base } = await hops(status);
    const outbound = open({ admin: [`127.0.0.1:${port}`] });
    const post = await outbound.fetch(`${base}/hop/1`, {
      ...admin,
      method: "POST",
      body: "secret=1",
      redirects: 2,
    });
    const credentials = { headers: { Authorization: "Bearer t" }, redirects: 2 } as const;
    const get = await outbound.fetch(`${base}/hop/1`, { ...admin, ...credentials });
    const hot = await outbound.request(new URL(`${base}/hop/1`), { method: "POST", headers: {}, body: "x" });
    hot.body.discard({ bytes: 1000, ms: 1000 });
    expect([post.status, get.status, hot.statusCode, seen.length]).toEqual([status, status, status, 3]);
  },
);

test("UP-14 a redirect never leads from https to http, wherever it points", () => {
  const from = new URL("https://a.test/x");
  for (const to of ["http://a.test/", "http://127.0.0.1:8080/", "ftp://a.test/"]) {
    expect(() => redirectTarget(302, to, from)).toThrow(OutboundError);
  }
  expect(redirectTarget(302, "//b.test/y", from)?.href).toBe("https://b.test/y");
  expect(redirectTarget(304, "/y", from)).toBeUndefined();
});

test("UP-14 each hop is checked again, and another origin gets none of the caller's headers", async () => {
  const trap = await canary();
  const { port, seen, base } = await hops();
  let target = "";
  const entry = await serve((_request, response) => response.writeHead(302, { location: target }).end());
  const outbound = open({ admin: [`127.0.0.1:${entry}`, `127.0.0.1:${port}`] }, resolveTestNames);
  const get = () =>
    outbound.fetch(`http://127.0.0.1:${entry}/`, { ...admin, redirects: 2, headers: { "X-Api-Key": "k" } });
  for (target of [
    `https://127.0.0.1:${trap.port}/`,
    `http://127.0.0.1:${trap.port}/`,
    `https://loopback.test:${trap.port}/`,
    `//u:p@127.0.0.1:${port}/`,
    "file:///etc/passwd",
  ]) {
    expect((await failure(get())).reason, target).toBe("refused");
  }
  target = "http://[";
  expect((await failure(get())).reason).toBe("protocol");
  target = `${base}/hop/0`;
  expect(await (await get()).text()).toBe("arrived");
  expect(seen.map(({ key }) => key)).toEqual([undefined]);
  expect(trap.connections()).toBe(0);
});

test("UP-20 RG-14 bodies end at the cap: declared, endless, and after decoding", async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  const port = await serve((request, response) => {
    if (request.url === "/declared") response.end(Buffer.alloc(2_000_001));
    else if (request.url === "/bomb") response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
    else if (request.url === "/nested")
      response.writeHead(200, { "content-encoding": "gzip, gzip" }).end(gzipSync(bomb));
    else if (request.url === "/endless") {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      };
      response.on("drain", more);
      more();
    } else response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("small"));
  });
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  const before = process.memoryUsage().rss;
  for (const path of ["declared", "bomb", "nested", "endless"]) {
    expect((await failure(outbound.fetch(`http://127.0.0.1:${port}/${path}`, admin))).reason, path).toBe(
      "too_large",
    );
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(50_000_000);
  const small = await outbound.fetch(`http://127.0.0.1:${port}/small`, { ...admin, maxBytes: 5 });
  expect([await small.text(), small.headers.get("content-encoding")]).toEqual(["small", null]);
  expect(
    (await failure(outbound.fetch(`http://127.0.0.1:${port}/small`, { ...admin, maxBytes: 4 }))).reason,
  ).toBe("too_large");
});

const head = "HTTP/1.1 200 OK\r\n";
test.each<[string, string, (socket: Socket) => void]>([
  ["no answer", "timeout", () => {}],
  ["headers that never end", "timeout", (socket) => socket.write(`${head}X-A: `)],
  ["a body that stops", "timeout", (socket) => socket.write(`${head}Content-Length: 10\r\n\r\nabc`)],
  [
    "a gzip body that stops",
    "timeout",
    (socket) => socket.write(`${head}Content-Encoding: gzip\r\nContent-Length: 99\r\n\r\n`),
  ],
  ["a reset", "unreachable", (socket) => socket.resetAndDestroy()],
  [
    "a reset mid-body",
    "unreachable",
    (socket) => socket.write(`${head}Content-Length: 10\r\n\r\nabc`, () => socket.resetAndDestroy()),
  ],
  [
    "an end before Content-Length",
    "unreachable",
    (socket) => socket.end(`${head}Content-Length: 10\r\n\r\nabc`),
  ],
  ["a header of 1 MB", "too_large", (socket) => socket.write(`${head}X-A: ${"a".repeat(1_000_000)}\r\n\r\n`)],
  ["10 000 headers", "too_large", (socket) => socket.write(`${head}${"X-A: a\r\n".repeat(10_000)}\r\n`)],
  ["no HTTP at all", "protocol", (socket) => socket.end("SSH-2.0-OpenSSH_9.9\r\n")],
  [
    "two lengths",
    "protocol",
    (socket) => socket.end(`${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`),
  ],
  [
    "broken gzip",
    "protocol",
    (socket) => socket.end(`${head}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc`),
  ],
])("UP-20 %s is %s", async (_name, reason, answer) => {
  const port = await speak(answer);
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  const timeoutMs = reason === "timeout" ? 200 : 8_000;
  expect((await failure(outbound.fetch(`http://127.0.0.1:${port}/`, { ...admin, timeoutMs }))).reason).toBe(
    reason,
  );
});

test("failures of the connection have a reason and say nothing of the address", async () => {
  const gone = await canary();
  await closing.pop()?.();
  const port = await serve((_request, response) => response.end());
  const outbound = open({ admin: [`127.0.0.1:${gone.port}`, `127.0.0.1:${port}`] }, resolveTestNames);
  expect((await failure(outbound.fetch(`http://127.0.0.1:${gone.port}/`, admin))).reason).toBe("unreachable");
  expect((await failure(outbound.fetch("https://nowhere.test/", admin))).reason).toBe("unresolvable");
  expect((await failure(outbound.fetch(`https://127.0.0.1:${port}/`, admin))).reason).toBe("tls");
  const hot = outbound.request(new URL(`http://127.0.0.1:${gone.port}/`), { method: "GET", headers: {} });
  expect((await failure(hot)).reason).toBe("unreachable");
});

test("the caller's signal ends an exchange, before it and in the middle", async () => {
  const port = await speak((socket) => socket.write(`${head}Content-Length: 10\r\n\r\nabc`));
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  const url = `http://127.0.0.1:${port}/`;
  const stop = new AbortController();
  const pending = failure(outbound.fetch(url, { ...admin, signal: stop.signal }));
  stop.abort();
  expect((await pending).reason).toBe("aborted");
  expect((await failure(outbound.fetch(url, { ...admin, signal: stop.signal }))).reason).toBe("aborted");
  expect((await failure(outbound.fetch(url, { ...admin, signal: AbortSignal.timeout(50) }))).reason).toBe(
    "timeout",
  );
  expect(
    (await failure(outbound.request(new URL(url), { method: "GET", headers: {}, signal: stop.signal })))
      .reason,
  ).toBe("aborted");
});

/** Reads a streamed answer the way the relay does. */
async function drain(outbound: Outbound, url: string, limits: object): Promise<string> {
  const answer = await outbound.request(new URL(url), {
    method: "POST",
    headers: { "x-a": "b" },
    body: "{}",
    ...limits,
  });
  let text = "";
  for await (const chunk of answer.body) text += chunk;
  return text;
}

test("the hot path streams, keeps its connection, and has its own time limits", async () => {
  let connections = 0;
  const server = createServer((request, response) => {
    if (request.url === "/slow") response.write("a");
    else if (request.url !== "/never") response.end("whole");
  });
  server.on("connection", () => connections++);
  const port = await listen(server);
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  const base = `http://127.0.0.1:${port}`;
  for (let call = 0; call < 5; call++) expect(await drain(outbound, `${base}/`, {})).toBe("whole");
  // The next call may start in the moment before the last connection is free again.
  expect(connections).toBeLessThanOrEqual(2);
  const late = await drain(outbound, `${base}/never`, { headersTimeoutMs: 100 }).catch(outboundFailure);
  const stuck = await drain(outbound, `${base}/slow`, { bodyTimeoutMs: 100 }).catch(outboundFailure);
  expect([late, stuck].map((error) => (error as OutboundError).reason)).toEqual(["timeout", "timeout"]);
});

test("a connection of one policy never serves the other", async () => {
  const ports = new Set<number | undefined>();
  const port = await serve((request, response) => {
    ports.add(request.socket.remotePort);
    response.end();
  });
  const entry = [`127.0.0.1:${port}`];
  const outbound = open({ admin: entry, stranger: entry });
  for (const policy of ["admin", "stranger"] as const)
    await outbound.fetch(`http://127.0.0.1:${port}/`, { policy });
  expect(ports.size).toBe(2);
});
