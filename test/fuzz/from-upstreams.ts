import assert from "node:assert/strict";
import fc from "fast-check";
import type { Received } from "../hostile/caller.ts";
import { type Era, type HostileStage, openHostileStage } from "../hostile/stage.ts";
import { checkMessage, checkText, messagesIn } from "./check.ts";
import { answers, handlerOf } from "./hostile-answers.ts";
import { heapInUse } from "./memory.ts";
import type { FuzzOptions } from "./run-options.ts";

const MOST_GROWTH = 24 * 1024 * 1024;

/**
 * Whatever an upstream answers to Alice: she gets one JSON-RPC answer to her request, nothing of Bob's is in it, and his
 * calls there and elsewhere, made meanwhile, are answered as always.
 */
export async function fuzzFromUpstream(era: Era, { seed, runs }: FuzzOptions): Promise<void> {
  const stage = await openHostileStage(era);
  try {
    let done = 0;
    let before = 0;
    const attempt = fc.asyncProperty(
      answers,
      fc.constantFrom("modern" as const, "legacy" as const),
      async (answer, client) => {
        stage.faults.set("it", handlerOf(answer));
        const [hers] = await Promise.all([
          stage.alice.call("evil-tool", { fault: "it" }, { era: client, id: "hers" }),
          bystander(stage, client),
        ]);
        check(hers, stage);
        stage.evil.forgetRequests();
        stage.good.forgetRequests();
        if (++done === Math.ceil(runs / 3)) before = heapInUse();
      },
    );
    await fc.assert(attempt, { seed, numRuns: runs });
    const grown = heapInUse() - before;
    assert.ok(grown < MOST_GROWTH, `the heap grew by ${Math.round(grown / 1024)} KiB (seed ${seed})`);
  } finally {
    await stage.close();
  }
}

async function bystander({ bob }: HostileStage, era: Era): Promise<void> {
  const [here, elsewhere] = await Promise.all([
    bob.call("evil-tool", {}, { era }),
    bob.call("good-echo", { n: 1 }, { era }),
  ]);
  assert.equal(textOf(here), bob.marker, here.text);
  assert.equal(textOf(elsewhere), '{"n":1}', elsewhere.text);
}

function check({ status, headers, text }: Received, { bob }: HostileStage): void {
  assert.ok(status === 200 || status === 400 || status === 404, `${status} ${text}`);
  checkText(text, [bob.marker]);
  assert.equal(headers.get("set-cookie"), null);
  const messages = messagesIn(headers.get("content-type") ?? "", text);
  for (const message of messages) checkMessage(message);
  const final = messages.filter((message) => "result" in message || "error" in message);
  assert.equal(final.length, 1, `one answer: ${text.slice(0, 500)}`);
  assert.equal(final[0]!.id, "hers");
  const { result } = final[0] as { result?: { content?: unknown; resultType?: unknown } };
  if (result && result.resultType !== "input_required" && result.resultType !== "task")
    assert.ok(Array.isArray(result.content), `a readable result: ${text.slice(0, 500)}`);
}

function textOf({ message }: Received): unknown {
  return message.result?.content?.[0]?.text;
}
