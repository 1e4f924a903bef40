import { expect, test } from "vitest";
import { eventually } from "./steps/eventually.ts";
import { linkOf, statusFor, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
/** Contract section 4: dead within one second of revocation on every replica. */
const AT_MOST_MS = 1_000;

journeys(
  "two replicas",
  (stage) => {
    test("the second serves a token of the first, and refuses it within a second of its revocation", async () => {
      const { gateway, person, admin } = await stage.household();
      const replica = await stage.replica(gateway);
      const { oauth } = await stage.signIn(gateway, person);
      const status = () => statusFor(replica.baseUrl, oauth.saved?.access_token ?? "");
      expect(await status()).toBe(200);
      const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
      expect(sessions).toHaveLength(1);
      await admin.expect(204, "DELETE", `/api/oauth2/sessions/${sessions[0].id}`);
      await eventually(
        "the other replica refuses the token",
        async () => (await status()) === 401,
        AT_MOST_MS,
      );
    });

    test("a credential connected at one serves the other, and its deletion reaches the other within a second", async () => {
      const { gateway, person, admin } = await stage.household();
      const replica = await stage.replica(gateway);
      const signedIn = await stage.signIn(gateway, person);
      const there = await stage.client(replica, signedIn);
      const link = linkOf(await there.callTool(whoami), "protected");
      expect(new URL(link).origin).toBe(gateway.baseUrl);
      assertPage(await person.connect(link));
      await eventually(
        "the other replica uses the credential",
        async () => (await there.callTool(whoami)).isError !== true,
        AT_MOST_MS,
      );
      expect(textOf(await signedIn.client.callTool(whoami))).toBe("alice");
      const { id } = await admin.onlySession();
      await admin.expect(204, "DELETE", `/api/mcp/sessions/${id}`);
      await eventually(
        "the other replica asks again",
        async () => (await there.callTool(whoami)).isError === true,
        AT_MOST_MS,
      );
    });
  },
  ["postgres"],
);
