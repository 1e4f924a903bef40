import {
  discoverOAuthServerInfo,
  exchangeAuthorization,
  registerClient,
  startAuthorization,
} from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { linkOf, openWithBearer, textOf } from "./steps/mcp-client.ts";
import { assertPage, finishConsent } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const redirectUrl = "http://127.0.0.1:1/callback";

journeys("a restart of the gateway", (stage) => {
  test("in the middle of a consent loses nothing: pages, code and token go on", async () => {
    const { gateway, person } = await stage.household();
    const resource = new URL("/mcp", gateway.baseUrl);
    const { authorizationServerUrl, authorizationServerMetadata: metadata } =
      await discoverOAuthServerInfo(resource);
    const clientMetadata = { redirect_uris: [redirectUrl], client_name: "Restarted" };
    const clientInformation = await registerClient(authorizationServerUrl, { metadata, clientMetadata });
    const known = { metadata, clientInformation, resource };
    const started = await startAuthorization(authorizationServerUrl, {
      ...known,
      redirectUrl,
      scope: "mcp",
      state: "s",
    });
    await person.approve(started.authorizationUrl);

    await gateway.close();
    const second = await stage.open(gateway.options);
    await person.browser.get(person.browser.page!.url);
    const answer = await finishConsent(person.browser, redirectUrl);

    await second.close();
    await stage.open(gateway.options);
    const tokens = await exchangeAuthorization(authorizationServerUrl, {
      ...known,
      iss: answer.searchParams.get("iss") ?? undefined,
      authorizationCode: answer.searchParams.get("code")!,
      codeVerifier: started.codeVerifier,
      redirectUri: redirectUrl,
    });
    const client = stage.keep(await openWithBearer(gateway.baseUrl, tokens.access_token));
    expect((await client.listTools()).tools.map((tool) => tool.name)).toContain(whoami.name);
  });

  test("while the person is at the provider: the way back and the credential still work", async () => {
    const { gateway, person, guarded } = await stage.household();
    const signedIn = await stage.signIn(gateway, person);
    const link = linkOf(await signedIn.client.callTool(whoami), "protected");
    assertPage(await person.browser.get(link));
    const stopAt = `${gateway.baseUrl}/api/oauth/callback`;
    const away = await person.browser.submitForm(
      (form) => "vk" in form.fields,
      { vk: person.key },
      { stopAt },
    );
    expect(away.stoppedAt?.searchParams.get("code")).toBeTruthy();

    await gateway.close();
    const again = await stage.open(gateway.options);
    assertPage(await person.browser.get(away.stoppedAt!, { from: guarded.provider.issuer }));
    const client = await stage.client(again, signedIn);
    expect(textOf(await client.callTool(whoami))).toBe("alice");
  });
});
