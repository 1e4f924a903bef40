import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Gone } from "../src/base/index.ts";
import {
  answerWeb,
  type DirectContext,
  type DirectHandler,
  defaultRateLimits,
  defineRoute,
  json,
  mount,
  RateLimits,
} from "../src/http/index.ts";
import { type Listening, listen } from "../src/listen.ts";
import { testSettings } from "./support/settings.ts";
import { testWorld } from "./support/world.ts";

/** What the routes do, chosen by a test; the last context they saw. */
let handle: DirectHandler;
let seen: DirectContext[];
let server: Listening;
let open: Socket[];

const plain = { status: 200, headers: { "content-type": "text/plain" } };
const MAX = 1000;

beforeEach(async () => {
  seen = [];
  open = [];
  handle = async (context) => ({ ...plain, headers: {}, body: await text(context) });
  const route = defineRoute<undefined>();
  const direct: DirectHandler = (context) => {
    seen.push(context);
    return handle(context);
  };
  const common = {
    method: "POST",
    summary: "",
    tag: "t",
    access: "mcp",
    csrf: "none",
    rate: "none",
  } as const;
  const rest = { errors: "envelope", answers: {}, refuses: [], direct } as const;
  const web = { handle: (context: never) => answerWeb(direct, context) };
  const world = testWorld();
  const settings = testSettings({ baseUrl: new URL("http://gate.test") });
  const app = mount(
    [
      route({ ...common, ...rest, ...web, path: "/hot", operationId: "hot" }),
      route({ ...common, ...rest, ...web, path: "/hot/{slug}", operationId: "hotSlug" }),
    ],
    {
      world,
      settings,
      limits: new RateLimits(world, defaultRateLimits),
      authenticate: async () => undefined,
    },
  );
  server = await listen(app, "127.0.0.1", 0);
});

afterEach(async () => {
  for (const socket of open) socket.destroy();
  await server.stop();
});

async function text({ inbound }: DirectContext): Promise<string> {
  return Buffer.from(await inbound.bytes(MAX)).toString();
}

async function dial(): Promise<Socket> {
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => {});
  open.push(socket);
  await once(socket, "connect");
  return socket;
}

/** Reads from `socket` until `enough`. */
async function read(socket: Socket, enough: (text: string) => boolean): Promise<string> {
  let got = "";
  while (!enough(got)) {
    const [chunk] = await once(socket, "data", { signal: AbortSignal.timeout(ANSWERED_MS) });
    got += chunk;
  }
  return got;
}

function post(path: string, body: string, headers: readonly string[] = []): string {
  const lines = [`POST ${path} HTTP/1.1`, "Host: gate.test", `Content-Length: ${body.length}`, ...headers];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

const ANSWERED_MS = 5_000;

async function answerTo(request: string, ending = "}"): Promise<string> {
  const socket = await dial();
  socket.write(request);
  return read(socket, (got) => got.includes("\r\n\r\n") && got.endsWith(ending));
}

describe("a direct route behind a port", () => {
  it("answers with the length of the text in bytes, ASCII or not", async () => {
    handle = async (context) => ({ ...plain, headers: {}, body: `<${await text(context)}>` });
    expect(await answerTo(post("/hot", "plain"), ">")).toMatch(/content-length: 7\r\n[\s\S]*<plain>$/);
    handle = async () => ({ ...plain, headers: {}, body: "<né 日本 🙂>" });
    expect(await answerTo(post("/hot", ""), ">")).toMatch(/content-length: 17\r\n[\s\S]*<né 日本 🙂>$/);
  });

  it("takes the name from the address, and what is written in another way goes the long way with the same answer", async () => {
    handle = async ({ params }) => ({ ...plain, headers: {}, body: JSON.stringify(params) });
    for (const path of ["/hot/tools", "/hot/tools?x=1", "/hot/%74ools"]) {
      expect(await answerTo(post(path, ""))).toMatch(/^HTTP\/1.1 200[\s\S]*\{"slug":"tools"\}$/);
    }
    expect(await answerTo(post("/hot/a/b", ""))).toMatch(/^HTTP\/1.1 404/);
  });

  it("a header sent twice is never taken for its first value", async () => {
    handle = async ({ inbound }) => ({
      ...plain,
      headers: {},
      body: JSON.stringify([
        inbound.headers.get("authorization"),
        inbound.headers.get("x-none"),
        inbound.headers.get("constructor"),
      ]),
    });
    const twice = ["Authorization: Bearer one", "Authorization: Bearer two"];
    expect(await answerTo(post("/hot", "", twice), "]")).toContain('["Bearer one, Bearer two",null,null]');
  });

  it("a Host that is not ours is refused before the handler, with the security headers", async () => {
    const answer = await answerTo(post("/hot", "").replace("gate.test", "evil.test"));
    expect(answer).toMatch(/^HTTP\/1.1 421/);
    expect(answer).toContain("x-content-type-options: nosniff");
    const twice = await answerTo(post("/hot", "", ["Host: evil.test"]));
    expect(twice).toMatch(/^HTTP\/1.1 4(00|21)/);
    expect(seen).toHaveLength(0);
  });

  it("a crash is told as a plain 500 and the connection serves on", async () => {
    handle = async () => {
      throw new Error("secret detail");
    };
    const socket = await dial();
    socket.write(post("/hot", ""));
    const answer = await read(socket, (got) => got.endsWith("}}"));
    expect(answer).toMatch(/^HTTP\/1.1 500/);
    expect(answer).not.toContain("secret detail");
    handle = async () => ({ ...plain, headers: {}, body: "again" });
    socket.write(post("/hot", ""));
    expect(await read(socket, (got) => got.endsWith("again"))).toMatch(/^HTTP\/1.1 200/);
  });

  it.each([
    ["a length beyond the limit", ["Content-Length: 1001"], ""],
    ["more chunks than the limit", ["Transfer-Encoding: chunked"], `3e9\r\n${"x".repeat(1001)}\r\n0\r\n\r\n`],
  ])("413 for %s, told although the body still comes", async (_, headers, body) => {
    const head = ["POST /hot HTTP/1.1", "Host: gate.test", ...headers].join("\r\n");
    const answer = await answerTo(`${head}\r\n\r\n${body}`);
    expect(answer).toMatch(/^HTTP\/1.1 413[\s\S]*body_too_large/);
  });

  it("reads a body in pieces and in chunks, and refuses a compressed one", async () => {
    const socket = await dial();
    const request = post("/hot", "0123456789");
    socket.write(request.slice(0, -5));
    await expect.poll(() => seen.length).toBe(1);
    socket.write(request.slice(-5));
    expect(await read(socket, (got) => got.endsWith("0123456789"))).toMatch(/^HTTP\/1.1 200/);
    const chunked = "POST /hot HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write(`${chunked}2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n`);
    expect(await read(socket, (got) => got.endsWith("abcde"))).toMatch(/^HTTP\/1.1 200/);
    expect(await answerTo(post("/hot", "{}", ["Content-Encoding: gzip"]))).toMatch(/^HTTP\/1.1 415/);
  });

  it("a sender that leaves is noticed, with the body half sent or waiting for the answer; nothing crashes", async () => {
    const half = await dial();
    let failed: unknown;
    handle = async (context) => ({
      ...plain,
      headers: {},
      body: await text(context).catch((error) => {
        failed = error;
        return "";
      }),
    });
    half.write(post("/hot", "0123456789").slice(0, -5));
    await expect.poll(() => seen.length).toBe(1);
    half.destroy();
    await expect.poll(() => failed).toBeDefined();

    const left = Promise.withResolvers<void>();
    let gone: Gone | undefined;
    handle = async ({ inbound }) => {
      gone = inbound.gone;
      const unwanted = () => left.reject(new Error("a removed listener was called"));
      gone.addEventListener("abort", unwanted);
      gone.removeEventListener("abort", unwanted);
      gone.addEventListener("abort", left.resolve);
      await left.promise;
      return { ...plain, headers: {}, body: "nobody reads this" };
    };
    const waiting = await dial();
    waiting.write(post("/hot", ""));
    await expect.poll(() => gone?.aborted).toBe(false);
    waiting.destroy();
    await left.promise;
    expect(gone?.aborted).toBe(true);

    handle = async () => ({ ...plain, headers: {}, body: "still here" });
    expect(await answerTo(post("/hot", ""), "still here")).toMatch(/^HTTP\/1.1 200/);
  });

  it("a finished answer is no departure", async () => {
    let called = false;
    handle = async ({ inbound }) => {
      inbound.gone.addEventListener("abort", () => {
        called = true;
      });
      return { ...plain, headers: {}, body: "done" };
    };
    const socket = await dial();
    socket.write(post("/hot", ""));
    await read(socket, (got) => got.endsWith("done"));
    socket.destroy();
    await once(socket, "close");
    expect(await answerTo(post("/hot", ""), "done")).toMatch(/^HTTP\/1.1 200/);
    expect(called).toBe(false);
  });

  it("streams a Response piece by piece, and cancels it when its reader leaves", async () => {
    const cancelled = Promise.withResolvers<void>();
    let send!: (text: string) => void;
    handle = async () =>
      new Response(
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            send = (piece) => controller.enqueue(new TextEncoder().encode(piece));
          },
          cancel: () => cancelled.resolve(),
        }),
        { headers: { "content-type": "text/event-stream" } },
      );
    const socket = await dial();
    socket.write(post("/hot", ""));
    await read(socket, (got) => got.includes("text/event-stream"));
    send("data: one\n\n");
    await read(socket, (got) => got.includes("data: one"));
    send("data: two\n\n");
    await read(socket, (got) => got.includes("data: two"));
    socket.destroy();
    await cancelled.promise;
  });

  it("a Response without a body, and one of JSON, go out as they are", async () => {
    handle = async () => new Response(null, { status: 202, headers: { "x-a": "b" } });
    expect(await answerTo(post("/hot", ""), "\r\n\r\n")).toMatch(/^HTTP\/1.1 202[\s\S]*x-a: b/);
    handle = async () => json({ a: 1 }, 403);
    expect(await answerTo(post("/hot", ""))).toMatch(/^HTTP\/1.1 403[\s\S]*\{"a":1\}/);
  });

  it("two requests in one packet are answered in order", async () => {
    const socket = await dial();
    socket.write(post("/hot", "first") + post("/hot", "second"));
    const both = await read(socket, (got) => got.endsWith("second"));
    expect(both.indexOf("first")).toBeLessThan(both.indexOf("second"));
    expect(seen).toHaveLength(2);
    expect(new Set(seen.map(({ requestId }) => requestId)).size).toBe(2);
  });
});
