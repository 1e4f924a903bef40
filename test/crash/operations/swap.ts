import { expect } from "../expect.ts";
import { codeOf, led, Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";

const question = "/workspace/mcp-sessions/account";

/** Somebody comes back with another account than before, and says that it counts. */
export const swap: Operation = {
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    await member.consent(true);
    const consent = await member.begin();
    await member.identify(consent);
    const other = `${name} at work`;
    const step = stepOf(point);
    const goAndComeBack = async () =>
      led(await member.comeBack(await member.leave(consent, other)), question);
    const replace = (asked: URL) =>
      member.web.form(question, { flow: asked.searchParams.get("flow")!, choice: "replace" });
    const asked = step > 2 ? await goAndComeBack() : undefined;
    const back = step > 2 ? undefined : await member.leave(consent, other);
    return {
      drive: () => (back ? member.comeBack(back) : replace(asked!)),
      inspect: async ({ db }) => {
        const held = await db
          .selectFrom("flows")
          .select("outcome")
          .where("kind", "=", "swap")
          .where("owner_id", "=", consent.flowId)
          .execute();
        const expected = step === 1 ? [] : [{ outcome: step === 5 ? "replaced_account" : null }];
        expect("the question", held, expected);
      },
      finish: async () => {
        // The question was never seen, or its answer never heard.
        led(await replace(asked ?? (await goAndComeBack())), "/oauth/consent/mcps");
        const tokens = tokensOf(await member.redeem(codeOf(await member.submit(consent)), consent));
        expect("a call", await member.call(tokens), { text: other });
      },
    };
  },
};
