import { expect, test } from "vitest";
import type { Page } from "../peers/browser.ts";
import { Dashboard } from "./steps/dashboard.ts";
import { Desk, STEP_MS } from "./steps/desk.ts";
import { ada, bob, codeOf, openOffice, password } from "./steps/people.ts";
import { finishConsent } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const MINUTE = 60_000;

journeys("signing in here", (stage) => {
  test("CB-28 with one-time codes there is no session before the code, also on the way to a consent", async () => {
    const { gateway } = await stage.household();
    const operator = ["admin@example.com", "correct horse battery staple"] as const;
    const phone = new Desk(stage, gateway);
    await phone.signIn(...operator);
    const done = await phone.turnCodesOn();
    expect(done.html).toContain("One-time codes are on");
    // The secret is not shown again.
    expect((await phone.open("/account/codes")).url.pathname).toBe("/account");
    phone.wait(STEP_MS);
    const desk = new Desk(stage, gateway);
    let consent: Page | undefined;
    await stage.signIn(gateway, {
      browser: desk.browser,
      allow: async (url, redirectUri) => {
        const { pathname, search } = (await desk.browser.get(url)).url;
        const asked = await desk.signIn(...operator, pathname + search);
        expect(asked.url.pathname).toBe("/login/code");
        expect(await desk.session()).toBe(401);
        expect((await desk.open(pathname + search)).html).not.toContain(operator[0]);
        await desk.open("/login/code");
        consent = await desk.typeCode(phone.code());
        expect(consent.url.pathname + consent.url.search).toBe(pathname + search);
        await desk.browser.submitForm("/consent/user-id");
        return finishConsent(desk.browser, redirectUri);
      },
    });
    expect(consent?.html).toContain(operator[0]);
  });

  test("a code counts once, five wrong ones end the sign-in, and over the API it goes along", async () => {
    const { gateway, make, admin, browser } = await openOffice(stage);
    await make({ ...bob, password });
    const desk = new Desk(stage, gateway);
    await desk.signIn(bob.email);
    await desk.turnCodesOn();
    const right = { email: bob.email, password };
    const login = (body: object) => browser().send("POST", "/api/session/login", { ...right, ...body });
    expect(codeOf(await login({}))).toEqual([401, "code_required", undefined]);
    expect(codeOf(await login({ code: desk.code() }))).toEqual([401, "wrong_code", undefined]);
    const wrong = { password: "not this one at all", code: "000000" };
    expect(codeOf(await login(wrong))).toEqual([401, "wrong_credentials", undefined]);
    desk.wait(2 * STEP_MS);
    const code = desk.code();
    const there = stage.kind === "postgres" ? await stage.replica(gateway) : gateway;
    const elsewhere = new Dashboard(there.baseUrl);
    const both = await Promise.all([
      login({ code }),
      elsewhere.send("POST", "/api/session/login", { ...right, code }),
    ]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 401]);
    desk.wait(2 * STEP_MS);
    const guesser = new Desk(stage, gateway);
    await guesser.signIn(bob.email);
    for (let guess = 0; guess < 5; guess++)
      expect((await guesser.typeCode("000000")).html).toContain("This code is wrong");
    expect((await guesser.typeCode(desk.code())).url.pathname).toBe("/login");
    expect(await guesser.session()).toBe(401);
    const lines = async () => (await admin.expect(200, "GET", "/api/audit?event=session.refused")).events;
    await expect.poll(async () => (await lines()).length).toBe(8);
    expect((await lines())[0]).toMatchObject({ actor: "nobody", request_id: expect.any(String) });
  });

  test("a recovery link leaves the codes on unless it says otherwise", async () => {
    const { gateway, make, admin } = await openOffice(stage);
    const { id } = await make({ ...bob, password });
    const desk = new Desk(stage, gateway);
    await desk.signIn(bob.email);
    await desk.turnCodesOn();
    const recover = async (body?: object) => {
      const { url } = await admin.expect(200, "POST", `/api/users/${id}/recovery-link`, body);
      const person = new Desk(stage, gateway);
      await person.browser.get(url);
      return { person, page: await person.press("/password", { password: "another password 1" }) };
    };
    const kept = await recover();
    expect(kept.page.url.pathname).toBe("/login/code");
    expect(await kept.person.session()).toBe(401);
    expect(await desk.session()).toBe(401);
    const reset = await recover({ reset_second_factor: true });
    expect(reset.page.url.pathname).toBe("/");
    expect((await reset.person.open("/account")).html).toContain("your password alone signs you in");
    // What waited for a code is over with the password it followed.
    expect((await kept.person.open("/login/code")).url.pathname).toBe("/login");
  });

  test("AD-04 a new value at each sign-in, the browser's old one dead; sessions are listed and ended", async () => {
    const { gateway, make, admin, signedIn } = await openOffice(stage);
    const { id } = await make({ ...bob, password });
    const desk = new Desk(stage, gateway);
    await desk.signIn(bob.email);
    const before = desk.cookies();
    await desk.signIn(bob.email);
    const replay = await fetch(new URL("/api/session", gateway.baseUrl), { headers: { cookie: before } });
    expect(replay.status).toBe(401);
    const [here, there] = [await signedIn(bob.email), await signedIn(bob.email)];
    const { sessions } = await here.expect(200, "GET", "/api/session/sessions");
    expect(sessions).toHaveLength(3);
    const current = sessions.find((one: { current: boolean }) => one.current);
    expect(current).toMatchObject({ method: "password", created_at: expect.any(String) });
    await make(ada);
    const stranger = await signedIn(ada.email);
    const notTheirs = await stranger.send("DELETE", `/api/session/sessions/${current.id}`);
    expect(codeOf(notTheirs)).toEqual([404, "browser_session_not_found", undefined]);
    await there.expect(204, "DELETE", `/api/session/sessions/${current.id}`);
    expect((await here.send("GET", "/api/session")).status).toBe(401);
    await desk.open("/account");
    expect((await desk.press("/account/sessions/end-others")).html).toContain("Every other browser");
    expect((await there.send("GET", "/api/session")).status).toBe(401);
    expect((await admin.expect(200, "DELETE", `/api/users/${id}/sessions`)).ended).toBe(1);
    expect(await desk.session()).toBe(401);
    await stranger.expect(200, "GET", "/api/session");
    const ended = (await admin.expect(200, "GET", "/api/audit?event=session.ended")).events;
    expect(ended).toHaveLength(3);
  });

  test("AD-04 what changes how somebody signs in needs a recent sign-in, a password the present one", async () => {
    const { gateway, make } = await openOffice(stage);
    await make({ ...bob, password });
    const desk = new Desk(stage, gateway);
    await desk.signIn(bob.email);
    await desk.open("/account");
    desk.wait(11 * MINUTE);
    expect((await desk.press("/account/codes")).html).toContain("Sign in again to change this");
    const change = (given: Record<string, string>) => desk.press("/account/password", given);
    const wrong = { current_password: "not the present one", new_password: "a better password" };
    expect((await change(wrong)).html).toContain("not your present password");
    const guessable = { current_password: password, new_password: "december2025!" };
    expect((await change(guessable)).html).toContain("easy to guess");
    const good = { ...guessable, new_password: "a better password" };
    expect((await change(good)).html).toContain("Your password is changed");
    // The session goes on and is as old as the sign-in: who has only session and password cannot do more now.
    await desk.open("/account");
    expect((await desk.press("/account/codes")).html).toContain("Sign in again to change this");
    await desk.signIn(bob.email, good.new_password);
    expect((await desk.turnCodesOn()).html).toContain("One-time codes are on");
    expect((await desk.press("/account/codes/off")).html).toContain("One-time codes are off");
  });
});
