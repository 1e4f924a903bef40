import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { heapInUse } from "../fuzz/memory.ts";
import { answer, Drip, type Handler } from "../peers/scripted-upstream.ts";
import type { Received } from "./caller.ts";
import { type Era, type HostileStage, openHostileStage } from "./stage.ts";

// Issue 4, "Bad input": each kind, from upstreams of both eras, to clients of both. The client gets a correct protocol
// error, and another caller's calls, at the same upstream and at another, notice nothing.

const eras: Era[] = ["modern", "legacy"];
const complete = (text: string) => ({ resultType: "complete", content: [{ type: "text", text }] });
const json = { "content-type": "application/json" };
const sse = { "content-type": "text/event-stream" };

describe.each(eras)("an upstream of the %s era", (era) => {
  let stage: HostileStage;
  beforeAll(async () => {
    stage = await openHostileStage(era);
  });
  afterAll(() => stage.close());
  afterEach(() => stage.faults.clear());

  /** Does something to Alice while Bob has a call under way, and makes two more; all of his are as always. */
  async function besideBob<T>(work: () => Promise<T>): Promise<T> {
    const { bob } = stage;
    const waiting = await stage.bobWaits();
    const [done, here, elsewhere] = await Promise.all([
      work(),
      bob.call("evil-tool"),
      bob.call("good-echo", { word: "hello" }),
    ]);
    expect(here.message.result).toMatchObject({ content: [{ text: bob.marker }] });
    expect(elsewhere.message.result).toMatchObject({ content: [{ text: '{"word":"hello"}' }] });
    expect(await waiting.release()).toBe(bob.marker);
    return done;
  }

  /** Alice's call that the upstream answers so, as a client of either era. */
  function faulty(handler: Handler, client: Era, signal?: AbortSignal): Promise<Received> {
    stage.faults.set("it", handler);
    return stage.alice.call("evil-tool", { fault: "it" }, { era: client, signal });
  }

  /** One JSON-RPC error, for this request, in words of ours. */
  function expectError(received: Received, code: string | RegExp): void {
    const { status, message, text } = received;
    expect(status).toBe(200);
    expect(message).toEqual({
      jsonrpc: "2.0",
      id: expect.any(Number),
      error: { code: -32603, message: expect.stringContaining("evil"), data: expect.any(Object) },
    });
    expect(message.error.data).toMatchObject({ code: expect.stringMatching(code), mcp_client_name: "evil" });
    expect(text).not.toMatch(/127\.0\.0\.1|\.ts:\d|secret/);
  }

  const malformed: [string, Handler, (string | RegExp)?][] = [
    ["half an object", answer.http(200, '{"jsonrpc":"2.0","id":', json)],
    ["no JSON", answer.http(200, "secret: stack trace", json)],
    ["duplicate members", answer.http(200, '{"jsonrpc":"2.0","id":1,"result":{},"result":{}}', json)],
    ["100,000 brackets", answer.http(200, "[".repeat(100_000), json)],
    [
      "bytes that are no UTF-8",
      ({ res }) => void res.writeHead(200, json).end(Buffer.from([0x22, 0xc0, 0xaf, 0x22])),
    ],
    ["a lone half of a surrogate pair in a key", answer.http(200, '{"\\ud800":1}', json)],
    ["an event that is no JSON", answer.http(200, "data: secret\n\n", sse)],
    ["an event cut in two", answer.http(200, 'data: {"jsonrpc":"2.0",', sse)],
    [
      "bytes that are no UTF-8 in an event",
      ({ res }) => void res.writeHead(200, sse).end(Buffer.from([0x64, 0xff, 0x0a, 0x0a])),
    ],
    ["nothing", answer.http(200, "", json)],
    ["202 to a request", answer.http(202)],
    ["a page", answer.http(200, "<p>secret</p>", { "content-type": "text/html" })],
    [
      "compression that was not asked for",
      ({ res }) =>
        void res.writeHead(200, { ...json, "content-encoding": "gzip" }).end(gzipSync("x".repeat(1 << 20))),
    ],
    [
      "a body shorter than it says",
      ({ res, req }) => {
        res.writeHead(200, { ...json, "content-length": "100" });
        res.write("{", () => req.socket.destroy());
      },
      "upstream_unreachable",
    ],
    [
      "a chunk that breaks off",
      ({ req }) => {
        req.socket.write(
          "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{",
          () => req.socket.destroy(),
        );
      },
      "upstream_unreachable",
    ],
    [
      "no HTTP",
      ({ req }) => {
        req.socket.end("secret\r\n\r\n");
      },
      /upstream_(protocol|unreachable)/,
    ],
  ];

  test("MC-10 MC-25 malformed frames: the client gets one error, others notice nothing", async () => {
    for (const [name, handler, code = "upstream_protocol"] of malformed) {
      for (const client of eras) {
        const received = await besideBob(() => faulty(handler, client));
        expect({ name, ...received.message.error?.data }).toMatchObject({
          name,
          code: expect.stringMatching(code),
        });
        expectError(received, code);
      }
    }
  });

  test("MC-26 endless results: they end with the call's time or size, others notice nothing", async () => {
    const until = (
      res: { destroyed: boolean; on(event: "close", listener: () => void): unknown },
      write: () => void,
    ) => {
      const timer = setInterval(write, 5);
      res.on("close", () => clearInterval(timer));
    };
    const endless: [string, Handler, string | RegExp][] = [
      [
        "comments",
        ({ res }) => {
          res.writeHead(200, sse);
          until(res, () => res.write(": still here\n\n"));
        },
        "upstream_timeout",
      ],
      [
        "progress",
        ({ res, id }) => {
          res.writeHead(200, sse);
          const note = {
            jsonrpc: "2.0",
            method: "notifications/progress",
            params: { progressToken: id, progress: 1 },
          };
          until(res, () => res.write(`data: ${JSON.stringify(note)}\n\n`.repeat(200)));
        },
        /upstream_(too_large|timeout)/,
      ],
      [
        "a string",
        ({ res }) => {
          res.writeHead(200, json).write('{"jsonrpc":"2.0","x":"');
          until(res, () => res.write("y".repeat(64)));
        },
        "upstream_timeout",
      ],
      ["a header that never comes", () => {}, "upstream_timeout"],
    ];
    const begun: Promise<void>[] = [];
    const ended = endless
      .flatMap(([name, handler, code]) =>
        eras.map((client) => ({ name: `${name} ${client}`, handler, code, client })),
      )
      .map(async ({ name, handler, code, client }) => {
        const arrived = Promise.withResolvers<void>();
        begun.push(arrived.promise);
        stage.faults.set(name, (exchange) => {
          arrived.resolve();
          return handler(exchange);
        });
        expectError(await stage.alice.call("evil-tool", { fault: name }, { era: client }), code);
      });
    await Promise.all(begun);
    await besideBob(async () => {});
    await Promise.all(ended);
    await besideBob(async () => {});
  });

  test("MC-26 huge results: refused without being kept, others notice nothing", async () => {
    const line = () => {
      const drip = new Drip();
      for (let at = 0; at < 20; at++) drip.push(`${at === 0 ? "data: " : ""}${"x".repeat(1024 * 1024)}`);
      drip.end();
      return drip;
    };
    const huge: Handler[] = [
      answer.huge(64 * 1024 * 1024),
      ({ res }) => {
        res.writeHead(200, { ...json, "content-length": String(2 ** 40) }).flushHeaders();
      },
      (exchange) => answer.drip(line())(exchange),
    ];
    const before = heapInUse();
    for (const handler of huge)
      for (const client of eras)
        expectError(await besideBob(() => faulty(handler, client)), "upstream_too_large");
    expect(heapInUse() - before).toBeLessThan(16 * 1024 * 1024);
  });

  test("MC-16 MC-25 wrong ids: an answer to something else is nobody's, others notice nothing", async () => {
    const wrong = [999_999, "1", null, -1, 1.5, [1], {}];
    const forms: ((id: unknown) => Handler)[] = [
      (id) => answer.http(200, { jsonrpc: "2.0", id, result: complete("theirs") }),
      (id) =>
        answer.http(
          200,
          `data: ${JSON.stringify({ jsonrpc: "2.0", id, result: complete("theirs") })}\n\n`,
          sse,
        ),
      // The id of Bob's call, which is under way at this very upstream.
      () => {
        const other = stage.evil.calls("tools/call").findLast(({ body }) => body?.params?.name === "hold");
        return answer.http(200, { jsonrpc: "2.0", id: other?.body?.id, result: complete("theirs") });
      },
    ];
    for (const form of forms) {
      for (const id of wrong) {
        const received = await besideBob(() => faulty((exchange) => form(id)(exchange), "modern"));
        expectError(received, "upstream_protocol");
        expect(received.text).not.toContain("theirs");
      }
    }
  });

  test("MC-16 MC-26 results after cancellation: they reach nobody, others notice nothing", async () => {
    for (const client of eras) {
      const arrived = Promise.withResolvers<void>();
      const gone = Promise.withResolvers<void>();
      const late = Promise.withResolvers<void>();
      const leaving = new AbortController();
      const cancelled = besideBob(async () => {
        const received = faulty(
          async ({ res, id }) => {
            res.on("close", gone.resolve);
            arrived.resolve();
            await late.promise;
            // Said all the same, to whoever may still listen.
            res
              .writeHead(200, json)
              .end(JSON.stringify({ jsonrpc: "2.0", id, result: complete("too late") }));
          },
          client,
          leaving.signal,
        );
        received.catch(() => undefined);
        await arrived.promise;
        leaving.abort();
        await expect(received).rejects.toThrow();
        // The upstream is told by the end of its connection; an older one by a notification besides.
        await gone.promise;
        late.resolve();
        const next = await stage.alice.call("evil-tool", {}, { era: client });
        expect(next.message.result.content).toEqual([{ type: "text", text: stage.alice.marker }]);
      });
      await cancelled;
    }
  });
});

describe("sessions that vanish in mid-call", () => {
  let stage: HostileStage;
  beforeAll(async () => {
    stage = await openHostileStage("legacy");
  });
  afterAll(() => stage.close());

  test.each(eras)(
    "AV-16 404: the call is made anew once, then it is an error; others notice nothing (%s client)",
    async (client) => {
      const { alice, bob, evil, faults } = stage;
      const first = await alice.call("evil-tool", {}, { era: client });
      expect(first.message.result.content[0].text).toBe(alice.marker);
      const waiting = await stage.bobWaits();
      const sessionOf = (caller: { marker: string }) =>
        String(
          evil.calls("tools/call").findLast(({ headers }) => headers["x-account"] === caller.marker)!.headers[
            "mcp-session-id"
          ],
        );

      // Forgotten: the next call is told 404, opens another session and succeeds.
      const forgotten = sessionOf(alice);
      evil.sessions.delete(forgotten);
      const again = await alice.call("evil-tool", {}, { era: client });
      expect(again.message.result.content[0].text).toBe(alice.marker);
      expect(sessionOf(alice)).not.toBe(forgotten);

      // Forgotten whenever it is opened: an error, after one more try and no further.
      faults.set("gone", answer.http(404));
      evil.forgetRequests();
      const refused = await alice.call("evil-tool", { fault: "gone" }, { era: client });
      expect(refused.message.error).toMatchObject({ code: -32603, data: { code: "upstream_protocol" } });
      expect(evil.calls("tools/call")).toHaveLength(2);

      // Its stream breaks while the call is under way: an error, and the call is not made again, for it may have had effects.
      evil.forgetRequests();
      faults.set(
        "broken",
        answer.resetAfter({ method: "notifications/message", params: { level: "info", data: "x" } }),
      );
      const broken = await alice.call("evil-tool", { fault: "broken" }, { era: client });
      expect(broken.message.error.data.code).toMatch(/^upstream_(protocol|unreachable)$/);
      expect(evil.calls("tools/call")).toHaveLength(1);

      expect((await bob.call("evil-tool")).message.result.content[0].text).toBe(bob.marker);
      expect((await bob.call("good-echo", { a: 1 })).message.result.content[0].text).toBe('{"a":1}');
      expect(await waiting.release()).toBe(bob.marker);
    },
  );
});
