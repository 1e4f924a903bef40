import assert from "node:assert/strict";
import fc from "fast-check";
import { type Caller, callerOf } from "../hostile/caller.ts";
import { type Posted, SseUpstream } from "../peers/sse-upstream.ts";
import { startGateway } from "../support/gateway.ts";
import { checkMessage, checkText } from "./check.ts";
import { frameFor, frames, type HostileFrame } from "./hostile-answers.ts";
import type { FuzzOptions } from "./run-options.ts";

/**
 * The same over the transport of 2024-11-05, where one stream carries the answers to many calls: whatever stands on
 * Alice's, each of her calls gets its own answer or an error, and Bob's stream is another.
 */
export async function fuzzFromSseUpstream({ seed, runs }: FuzzOptions): Promise<void> {
  const evil = await SseUpstream.start();
  const good = await SseUpstream.start();
  const gateway = await startGateway({ outboundAllow: [evil, good].map(({ url }) => new URL(url).host) });
  try {
    const [alice, bob] = await furnished(gateway, evil, good);
    let planned: HostileFrame[] = [];
    evil.on = (posted) => saidTo(posted, planned);
    const attempt = fc.asyncProperty(frames, async (hostile) => {
      planned = hostile;
      const [first, second, his, elsewhere] = await Promise.all([
        alice.call("evil-echo", { fault: "it" }, { id: "first" }),
        alice.call("evil-echo", { fault: "it" }, { id: "second" }),
        bob.call("evil-echo", {}),
        bob.call("good-echo", { n: 1 }),
      ]);
      for (const [received, id] of [
        [first, "first"],
        [second, "second"],
      ] as const) {
        checkText(received.text, [bob.marker]);
        checkMessage(received.message);
        assert.equal(received.message.id, id);
      }
      assert.equal(his.message.result?.content[0].text, bob.marker, his.text);
      assert.equal(elsewhere.message.result?.content[0].text, '{"n":1}', elsewhere.text);
      evil.posted.length = 0;
      good.posted.length = 0;
    });
    await fc.assert(attempt, { seed, numRuns: runs });
  } finally {
    await gateway.stop();
    await Promise.all([evil.close(), good.close()]);
  }
}

/** What was planned, on her stream, and then what is right. */
function saidTo({ session, rpc }: Posted, planned: HostileFrame[]): object | undefined {
  if (rpc.method !== "tools/call") return undefined;
  const account = String(session.headers["x-account"]);
  const { fault } = (rpc.params?.arguments ?? {}) as { fault?: string };
  if (fault !== undefined)
    for (const frame of planned)
      session.stream.write(
        Buffer.concat([
          Buffer.from("event: message\ndata: "),
          frameFor(frame, rpc.id, account),
          Buffer.from("\n\n"),
        ]),
      );
  return { result: { content: [{ type: "text", text: account }] } };
}

async function furnished(
  gateway: Awaited<ReturnType<typeof startGateway>>,
  evil: SseUpstream,
  good: SseUpstream,
): Promise<[Caller, Caller]> {
  const add = async (name: string, url: string, more: object) => {
    const definition = {
      name,
      connection_type: "sse",
      connection_string: url,
      tools_to_execute: ["*"],
      tool_execution_timeout: 2,
    };
    const { mcp_client_id } = await gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", {
      ...definition,
      ...more,
    });
    await gateway.admin("POST", `/api/mcp/client/${mcp_client_id}/refresh-tools`);
    return mcp_client_id;
  };
  const header = "X-Account";
  const id = await add("evil", evil.url, {
    auth_type: "per_user_headers",
    per_user_header_keys: [header],
    user_headers: { [header]: "sample" },
  });
  await add("good", good.url, { auth_type: "none" });
  return [await callerOf(gateway, "alice", { id, header }), await callerOf(gateway, "bob", { id, header })];
}
