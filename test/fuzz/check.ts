import assert from "node:assert/strict";

type Json = Record<string, unknown>;

/** What no answer may hold, whatever was sent: words of ours for bugs, and of the machine. */
const LEAKS =
  /Something went wrong on our side|node:internal|\.ts:\d+|\bat (?:async )?[\w.]+ \(|ECONN|SQLITE/;

export function checkText(text: string, foreign: readonly string[]): void {
  for (const marker of foreign) assert.ok(!text.includes(marker), `somebody else's data: ${marker}`);
  assert.doesNotMatch(text, LEAKS);
}

/** Every message in a body of this type. Throws when it is not what it says. */
export function messagesIn(type: string, text: string): Json[] {
  if (type.startsWith("application/json")) return [JSON.parse(text)].flat();
  if (!type.startsWith("text/event-stream")) return [];
  return text
    .split("\n\n")
    .slice(0, -1)
    .map((event) => event.split("\n").filter((line) => line.startsWith("data: {")))
    .flatMap((lines) => lines.map((line) => JSON.parse(line.slice("data: ".length))));
}

/** JSON-RPC 2.0 §5, or the envelope of the contract's section 10. */
export function checkMessage(message: Json): void {
  if (message.jsonrpc === undefined) {
    const { code, message: text } = (message.error ?? {}) as Json;
    assert.ok(
      typeof code === "string" && typeof text === "string",
      `an envelope: ${JSON.stringify(message)}`,
    );
    return;
  }
  assert.equal(message.jsonrpc, "2.0");
  if (message.method !== undefined) return;
  assert.ok("id" in message, "an answer names its request");
  assert.notEqual("result" in message, "error" in message, "either a result or an error");
  if (!("error" in message)) return;
  const { code, message: text } = message.error as Json;
  assert.ok(Number.isSafeInteger(code) && typeof text === "string", `an error: ${JSON.stringify(message)}`);
}
