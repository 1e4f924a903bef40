import { expect } from "../expect.ts";
import { codeOf, led, Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";
import { worksWithout } from "./submit.ts";

/** AV-02: the browser comes back from the provider, during a consent. */
export const callback: Operation = {
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    const consent = await member.begin();
    await member.identify(consent);
    const back = await member.leave(consent);
    const step = stepOf(point);
    const isStored = step >= 8;
    return {
      drive: () => member.comeBack(back),
      inspect: async ({ db }) => {
        const rows = await db
          .selectFrom("credentials")
          .select("id")
          .where("owner_id", "=", consent.flowId)
          .execute();
        expect("what is connected", rows.length, isStored ? 1 : 0);
        const links = await db
          .selectFrom("flows")
          .select("outcome")
          .where("kind", "=", "connect")
          .where("owner_id", "=", consent.flowId)
          .execute();
        expect("the link", links, [{ outcome: isStored ? "connected" : null }]);
      },
      finish: async () => {
        const reloaded = await member.comeBack(back);
        // `state` counts once; whoever lost it stands where he was, and starts again if nothing came of it.
        const lost = step > 1 && !isStored ? "connect_failed" : null;
        expect("where a reload leads", reloaded.location?.pathname, "/oauth/consent/mcps");
        expect("what it says", reloaded.location?.searchParams.get("error"), lost);
        if (step > 1 && !isStored)
          led(await member.comeBack(await member.leave(consent)), "/oauth/consent/mcps");
        led(await member.giveHeader(consent), "/oauth/consent/mcps");
        await worksWithout(
          member,
          tokensOf(await member.redeem(codeOf(await member.submit(consent)), consent)),
        );
        // At worst tokens were given that nobody has, and the person went there once more.
        expect("consents at the provider", house.provider.of(name).length, step >= 4 && !isStored ? 2 : 1);
      },
    };
  },
};
