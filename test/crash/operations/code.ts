import { expect } from "../expect.ts";
import { codeOf, Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";
import { worksWithout } from "./submit.ts";

/** A client redeems its code. */
export const code: Operation = {
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    const consent = await member.begin();
    await member.identify(consent);
    await member.connectBoth(consent);
    const value = codeOf(await member.submit(consent));
    const isCommitted = stepOf(point) >= 4;
    return {
      drive: () => member.redeem(value, consent),
      inspect: async ({ db }) => {
        const grant = await db
          .selectFrom("grants")
          .select(["id", "status"])
          .where("owner_id", "=", member.keyId!)
          .executeTakeFirstOrThrow();
        const tokens = await db
          .selectFrom("tokens")
          .select("hash")
          .where("grant_id", "=", grant.id)
          .execute();
        expect("the grant", grant.status, isCommitted ? "active" : "pending");
        expect("tokens", tokens.length, isCommitted ? 2 : 0);
      },
      finish: async () => {
        const again = await member.redeem(value, consent);
        // RFC 6749 §4.1.2: a code counts once, whoever lost the answer. The client asks again; nothing is connected anew.
        if (isCommitted) expect("the code again", again.status, 400);
        await worksWithout(member, isCommitted ? await member.consent(false) : tokensOf(again));
        expect("visits to the provider", house.provider.of(name).length, 1);
      },
    };
  },
};
