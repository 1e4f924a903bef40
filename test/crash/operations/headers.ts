import { expect } from "../expect.ts";
import { codeOf, led, Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";
import { worksWithout } from "./submit.ts";

/** A form with a header value, during a consent. */
export const headers: Operation = {
  prepare: async (_house, name, point) => {
    const member = await Member.withKey(_house, name);
    const consent = await member.begin();
    await member.identify(consent);
    const isStored = stepOf(point) >= 5;
    return {
      drive: () => member.giveHeader(consent),
      inspect: async ({ db }) => {
        const rows = await db
          .selectFrom("credentials")
          .select("id")
          .where("owner_id", "=", consent.flowId)
          .execute();
        expect("what is connected", rows.length, isStored ? 1 : 0);
      },
      finish: async () => {
        // The browser asks whether to send the form again.
        if (!isStored) led(await member.giveHeader(consent), "/oauth/consent/mcps");
        led(await member.comeBack(await member.leave(consent)), "/oauth/consent/mcps");
        await worksWithout(
          member,
          tokensOf(await member.redeem(codeOf(await member.submit(consent)), consent)),
        );
      },
    };
  },
};
