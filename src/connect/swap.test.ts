import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { asked, bearer, bench, connectAs, events, ofX, ofY, rows, told } from "./swap.suite.ts";

onBothDatabases("another account on re-authentication", (open) => {
  it("UP-31 asks first, stores nothing meanwhile, and replaces the same row when told to", async () => {
    const b = await bench(open);
    const [before] = await rows(b);
    const page = await connectAs(b, b.alice.browser, await b.again(), {
      sub: "id-y",
      claims: { email: "y@example.com" },
    });
    expect(page.status, page.html).toBe(200);
    expect(page.html).toContain(asked);
    expect(page.html).toContain("x@example.com");
    expect(page.html).toContain("y@example.com");
    expect(page.html).not.toContain("access-of");
    expect(await rows(b)).toEqual([before]);
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-x");
    b.world.advance(60_000);
    const done = await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace" });
    expect(done.html).toContain("Connected");
    expect(await rows(b)).toEqual([
      { ...before, subject: "id-y", subject_name: "y@example.com", generation: 2 },
    ]);
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-y");
    expect(await told(b)).toEqual(ofX);
    expect(await events(b)).toEqual(["credential.account_replaced"]);
    // A double click, and the page opened once more.
    const again = await b.alice.browser.submit(page.url, {
      flow: page.url.searchParams.get("flow")!,
      choice: "keep",
    });
    expect(again.html).toContain("Connected");
    expect((await b.alice.browser.get(page.url)).html).toContain("Connected");
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-y");
  });

  it("UP-31 keeps the old one when told to, and gives the new tokens back", async () => {
    const b = await bench(open);
    const before = await rows(b);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    expect(page.html).toContain("id-y");
    const done = await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: /Keep/ });
    expect(done.html).toContain("Nothing changed");
    expect(await rows(b)).toEqual(before);
    expect(await bearer(b, b.alice.owner)).toBe("Bearer access-of-id-x");
    expect(await told(b)).toEqual(ofY);
    expect(await events(b)).toEqual(["credential.account_kept"]);
    // The link is spent.
    const form = { flow: page.url.searchParams.get("flow")!, choice: "replace" };
    expect((await b.alice.browser.submit(page.url, form)).html).toContain("Nothing changed");
    expect(await rows(b)).toEqual(before);
  });

  it("UP-31 two answers at once: one counts", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const flow = page.url.searchParams.get("flow")!;
    const answers = await Promise.all(
      ["replace", "keep", "replace"].map((choice) =>
        b.alice.browser.submit(page.url, { flow, choice }, { from: page, followRedirects: false }),
      ),
    );
    expect(answers.filter(({ status }) => status === 303).length).toBeGreaterThanOrEqual(1);
    const [row] = await rows(b);
    const all = await told(b);
    expect([ofX, ofY]).toContainEqual(all);
    expect(row).toMatchObject(
      all[0] === ofX[0] ? { subject: "id-y", generation: 2 } : { subject: "id-x", generation: 1 },
    );
  });

  it("UP-31 what the provider calls an account is text, and told apart", async () => {
    const b = await bench(open);
    const name = "<b>x</b>\u202E@example.com";
    const page = await connectAs(b, b.alice.browser, await b.again(), {
      sub: "id-y",
      claims: { email: name },
    });
    expect(page.html).toContain("&lt;b&gt;x&lt;/b&gt;@example.com");
    expect(page.html).not.toContain("\u202E");
    const same = await connectAs(b, b.alice.browser, await b.again(), {
      sub: "id-z",
      claims: { preferred_username: "x@example.com" },
    });
    expect(same.html).toContain("x@example.com (id-x)");
    expect(same.html).toContain("x@example.com (id-z)");
    // The first question went with its link.
    expect((await b.alice.browser.get(page.url)).status).toBe(410);
    await b.alice.browser.get(same.url);
    await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: /Keep/ });
    expect((await told(b)).toSorted()).toEqual([...ofY, "refresh-of-id-z", "access-of-id-z"].toSorted());
  });

  it("UP-31 the same account, and a provider that names none, are not asked about", async () => {
    const b = await bench(open);
    const same = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-x" });
    expect(same.html).toContain("Connected");
    await b.alice.browser.get(await b.again());
    // The real provider answers without an ID token.
    expect((await b.alice.browser.submitForm(/mcp-sessions\/auth/)).html).toContain("Connected");
    expect(await rows(b)).toMatchObject([{ subject: null, generation: 3 }]);
    const named = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    expect(named.html).toContain("Connected");
    expect(await told(b)).toEqual([]);
  });

  it("UP-31 an account that somebody else holds too is not ended by replacing it", async () => {
    const b = await bench(open);
    const other: Owner = { mode: "vk", id: "vk_other" };
    await b.database.transaction((tx) =>
      b.vault.put(tx, {
        owner: other,
        upstreamId: b.upstream.id,
        account: "",
        secret: {
          kind: "oauth",
          accessToken: new Hidden("another"),
          subject: "id-x",
          oauthConfigId: b.upstream.oauthConfigId!,
        },
      }),
    );
    await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace" });
    expect(await told(b)).toEqual([]);
    const line = await b.database.db
      .selectFrom("audit")
      .select("detail_json")
      .where("event", "=", "credential.provider_not_told")
      .executeTakeFirstOrThrow();
    expect(line.detail_json).toContain("account_still_used");
  });

  it("UP-31 the list of sessions is as before while the question is open", async () => {
    const b = await bench(open);
    await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const { sessions } = await readJson(
      await b.api("/api/mcp/sessions", { bearer: "admin-token-admin-token-admin" }),
    );
    expect(sessions).toHaveLength(1);
    expect(sessions[0]).toMatchObject({ kind: "token", status: "active" });
  });
});
