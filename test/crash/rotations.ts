import { type FaultPoint, faultPoints } from "../../src/base/index.ts";
import { nameOf } from "./deaths.ts";
import { expect } from "./expect.ts";
import { House, type HouseOptions } from "./house.ts";
import { Member } from "./member.ts";
import { worksWithout } from "./operations/submit.ts";

export interface RotationDeath {
  at: FaultPoint;
  nth: number;
}

/** Reached only with a database from before there were data keys; src/keys/rotate.test.ts interrupts it there. */
export const onlyFromBefore: FaultPoint = "keys.1.direct_key_kept";

/** `postern keys rotate` dies beside a gateway that serves. */
export const rotationDeaths: readonly RotationDeath[] = faultPoints
  .filter((at) => nameOf(at) === "keys" && at !== onlyFromBefore)
  .map((at) => ({ at, nth: 1 }));

/** Dies all these deaths, each in a rotation that the one before left unfinished; resolves to what went wrong. */
export async function dieRotating(
  options: Omit<HouseOptions, "shape">,
  deaths: readonly RotationDeath[],
): Promise<string[]> {
  const house = await House.open({ ...options, shape: "strict" });
  const wrong: string[] = [];
  try {
    const member = await Member.withKey(house, "ada");
    const tokens = await member.consent(true);
    for (const death of deaths) {
      try {
        house.addKey();
        await house.gateway.kill();
        await house.gateway.start();
        expect(`${death.at} was reached`, await house.gateway.rotateKeys(death), true);
        // While the one that serves goes on, with whatever there is now.
        await worksWithout(member, tokens);
        await house.gateway.kill();
        await house.look(async () => {});
        await house.gateway.start();
        await worksWithout(member, tokens);
      } catch (error) {
        wrong.push(`${death.at}: ${(error as Error).message}`);
        if (!house.gateway.isAlive) await house.gateway.start();
      }
    }
    expect("the rotation died", await house.gateway.rotateKeys(), false);
    await worksWithout(member, tokens);
    return wrong;
  } finally {
    await house.close();
  }
}
