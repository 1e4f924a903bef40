import { expect } from "../expect.ts";
import { codeOf, Member, tokensOf } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";
import { told } from "./revoke.ts";

/** A grant that is an identity of its own is taken back, with what was connected for it. */
export const end: Operation = {
  prepare: async (house, name, point) => {
    const member = new Member(house, name);
    const consent = await member.begin();
    await member.identify(consent);
    await member.connectBoth(consent);
    const tokens = tokensOf(await member.redeem(codeOf(await member.submit(consent)), consent));
    const { sessions } = await house.read("/api/oauth2/sessions?bf_mode=session&limit=100");
    const id: string = sessions[0].id;
    const isCommitted = stepOf(point) >= 5;
    return {
      drive: () => house.admin("DELETE", `/api/oauth2/sessions/${id}`),
      inspect: async ({ db }) => {
        const counts = await Promise.all([
          db.selectFrom("grants").select("id").where("id", "=", id).execute(),
          db.selectFrom("tokens").select("hash").where("grant_id", "=", id).execute(),
          db.selectFrom("credentials").select("id").where("owner_id", "=", id).execute(),
        ]);
        const found = counts.map((rows) => rows.length);
        expect("grant, tokens and credentials", found, isCommitted ? [0, 0, 0] : [1, 2, 2]);
      },
      finish: async () => {
        if (!isCommitted) {
          expect("a call", await member.call(tokens), { text: name });
          await house.admin("DELETE", `/api/oauth2/sessions/${id}`);
        }
        expect("a call", await member.call(tokens), { refused: 401 });
        await told(house, name);
      },
    };
  },
};
