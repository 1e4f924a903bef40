import { expect } from "../expect.ts";
import { codeOf, Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";

/** AV-01: somebody who connected both services finishes the consent. */
export const submit: Operation = {
  times: { "submit.4.credential_moved": [1, 2] },
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    const consent = await member.begin();
    await member.identify(consent);
    await member.connectBoth(consent);
    const committed = stepOf(point) >= 7;
    return {
      drive: () => member.submit(consent),
      inspect: async ({ db }) => {
        const flow = await db.selectFrom("flows").selectAll().where("id", "=", consent.flowId).execute();
        const owned = await db.selectFrom("credentials").select(["owner_mode", "owner_id"]).execute();
        const moved = owned.filter(
          ({ owner_mode, owner_id }) => owner_mode === "vk" && owner_id === member.keyId,
        );
        const waiting = owned.filter(({ owner_id }) => owner_id === consent.flowId);
        const grants = await db
          .selectFrom("grants")
          .select("id")
          .where("owner_id", "=", member.keyId!)
          .execute();
        expect("the consent", flow[0]?.outcome, committed ? "submitted" : null);
        expect("what is still the consent's", waiting.length, committed ? 0 : 2);
        expect("what the person has", moved.length, committed ? 2 : 0);
        expect("grants", grants.length, committed ? 1 : 0);
      },
      finish: async () => {
        const again = await member.submit(consent);
        if (committed) expect("the same consent again", again.status, 409);
        const tokens = committed
          ? await member.consent(false)
          : tokensOf(await member.redeem(codeOf(again), consent));
        await worksWithout(member, tokens);
        expect("visits to the provider", house.provider.of(name).length, 1);
      },
    };
  },
};

/** Both services answer, and nobody is asked anything. */
export async function worksWithout(
  member: Member,
  tokens: { access: string; refresh: string },
): Promise<void> {
  expect("a call", await member.call(tokens), { text: member.name });
  expect("a call with a header", await member.call(tokens, "headed-whoami"), { text: "by header" });
}
