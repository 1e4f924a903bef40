import { linkOf } from "../journeys/steps/mcp-client.ts";
import { assertPage } from "../journeys/steps/person.ts";
import type { Household, Stage } from "../journeys/steps/stage.ts";

export const whoami = "protected-whoami";
export const echo = "protected-echo";

/** A gateway with the protected upstream and a person who has connected their account, for any client to use. */
export async function connectedPerson(stage: Stage): Promise<Household> {
  const house = await stage.household();
  const { client } = await stage.signIn(house.gateway, house.person);
  assertPage(await house.person.connect(linkOf(await client.callTool({ name: whoami }), "protected")));
  return house;
}
