import { expect } from "../expect.ts";
import { type Called, led, Member } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";

const HOUR_MS = 60 * 60_000;
/** The longest that a dead process holds the right to refresh. */
const LEASE_MS = 31_000;
const CALLS = 20;

/** AV-03: a token of the upstream has ended, and a call needs another. */
export const refresh: Operation = {
  shapes: ["tolerant", "strict"],
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    const tokens = await member.consent(true);
    expect("a call", await member.call(tokens), { text: name });
    await house.gateway.advance(HOUR_MS);
    const step = stepOf(point);
    const [family] = house.provider.of(name);
    // The provider gave a new pair, and nobody has it.
    const isLost = () => family!.spent.size > 0 && step < 5;
    return {
      drive: () => member.call(tokens),
      inspect: async () => {},
      finish: async () => {
        await house.gateway.advance(LEASE_MS);
        const before = house.provider.tokenCalls;
        const mustPrompt = isLost() && house.provider.shape === "strict";
        const calls = await Promise.all(Array.from({ length: CALLS }, () => member.call(tokens)));
        const links = new Set(calls.map(linkOf));
        expect("links that were shown", links.size, 1);
        expect("somebody has to sign in", [...links][0] !== undefined, mustPrompt);
        const asked = house.provider.tokenCalls - before;
        if (asked > (step < 5 ? 2 : 0)) throw new Error(`the provider was asked ${asked} times`);
        if (mustPrompt) led(await member.reconnect([...links][0]!));
        expect("a call", await member.call(tokens), { text: name });
        expect("consents at the provider", house.provider.of(name).length, mustPrompt ? 2 : 1);
      },
    };
  },
};

function linkOf(called: Called): string | undefined {
  if ("refused" in called) throw new Error(`a call was refused with ${called.refused}`);
  return "prompt" in called ? called.prompt : undefined;
}
