import { expect } from "../expect.ts";
import type { House } from "../house.ts";
import { Member } from "../member.ts";
import { type Operation, stepOf } from "./operation.ts";

/** A connection is taken back here; its provider is to hear of it. */
export const revoke: Operation = {
  prepare: async (house, name, point) => {
    const member = await Member.withKey(house, name);
    const tokens = await member.consent(true);
    const id = await connectionOf(house, member);
    const isCommitted = stepOf(point) >= 4;
    return {
      drive: () => house.admin("DELETE", `/api/mcp/sessions/${id}`),
      inspect: async ({ db }) => {
        const row = await db.selectFrom("credentials").select("id").where("id", "=", id).execute();
        expect("the row", row.length, isCommitted ? 0 : 1);
        const told = house.provider.of(name)[0]!.ended === "request";
        const waiting = await db.selectFrom("outbox").select("id").execute();
        if (isCommitted) expect("the provider is or will be told", told || waiting.length > 0, true);
        else expect("the provider is told", told, false);
      },
      finish: async () => {
        if (!isCommitted) {
          expect("a call", await member.call(tokens), { text: name });
          await house.admin("DELETE", `/api/mcp/sessions/${id}`);
        }
        expect("a call asks", "prompt" in (await member.call(tokens)), true);
        await told(house, name);
      },
    };
  },
};

interface Session {
  kind: string;
  virtual_key?: { id: string };
}

export async function connectionOf(house: House, { keyId }: Member): Promise<string> {
  const { sessions } = await house.read("/api/mcp/sessions?limit=100");
  const isTheirs = ({ kind, virtual_key }: Session) => kind === "token" && virtual_key?.id === keyId;
  return sessions.find(isTheirs).id;
}

/** The provider hears of it by itself, at the next turn of the job. */
export async function told(house: House, name: string): Promise<void> {
  await house.gateway.jobs();
  expect(`what the provider knows of ${name}`, house.provider.of(name)[0]!.ended, "request");
}
