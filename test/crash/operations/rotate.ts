import { expect } from "../expect.ts";
import { Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";
import { worksWithout } from "./submit.ts";

/** AV-04: a client renews its tokens, for the second time: the first ones have no predecessor. */
export const rotate: Operation = {
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    const tokens = tokensOf(await member.refresh(await member.consent(true)));
    const isCommitted = stepOf(point) >= 6;
    return {
      drive: () => member.refresh(tokens),
      inspect: async ({ db }) => {
        const { id } = await db
          .selectFrom("grants")
          .select("id")
          .where("owner_id", "=", member.keyId!)
          .executeTakeFirstOrThrow();
        const rows = await db
          .selectFrom("tokens")
          .select("hash")
          .where("grant_id", "=", id)
          .where("kind", "=", "refresh")
          .execute();
        expect("refresh tokens, retired ones too", rows.length, isCommitted ? 3 : 2);
      },
      finish: async () => {
        // D8: the old one counts for half a minute more, and gives the same successor again, after a restart as well.
        const successor = tokensOf(await member.refresh(tokens));
        if (isCommitted) expect("the same successor", tokensOf(await member.refresh(tokens)), successor);
        await worksWithout(member, successor);
        await worksWithout(member, tokensOf(await member.refresh(successor)));
      },
    };
  },
};
