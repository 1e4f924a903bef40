import { expect } from "../expect.ts";
import { Member } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";
import { connectionOf, told } from "./revoke.ts";

/** A claim on an entry that nobody came back to ends after a minute. */
const CLAIM_MS = 61_000;

/** A provider is told of a connection that is gone; the job does it by itself, within seconds. */
export const deliver: Operation = {
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    await member.consent(true);
    const id = await connectionOf(house, member);
    const isCommitted = stepOf(point) >= 5;
    const events = () => house.read("/api/audit?event=credential.provider_told&limit=100");
    const before = (await events()).count;
    return {
      drive: async () => {
        await house.admin("DELETE", `/api/mcp/sessions/${id}`);
        await house.gateway.jobs();
      },
      inspect: async ({ db }) => {
        const entries = await db.selectFrom("outbox").select("attempts").execute();
        expect("what is still to be told", entries, isCommitted ? [] : [{ attempts: 1 }]);
      },
      finish: async () => {
        if (!isCommitted) await house.gateway.advance(CLAIM_MS);
        await told(house, name);
        await house.gateway.jobs();
        expect("times that the audit trail says so", (await events()).count - before, 1);
      },
    };
  },
};
