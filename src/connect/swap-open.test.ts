import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { rig } from "./connect.suite.ts";
import {
  answerAs,
  asked,
  bearer,
  bench,
  closing,
  connectAs,
  held,
  ofX,
  ofY,
  rows,
  told,
} from "./swap.suite.ts";

onBothDatabases("another account on re-authentication", (open) => {
  it("UP-31 the question is for the browser and the person it was put to", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const flow = page.url.searchParams.get("flow")!;
    const bob = await b.person("bob");
    for (const stranger of [b.browser(), bob.browser]) {
      const shown = await stranger.get(page.url);
      expect(shown.status).toBe(403);
      expect(shown.html).not.toContain("id-y");
      for (const choice of ["replace", "keep"])
        expect((await stranger.submit(page.url, { flow, choice }, { from: page })).status).toBe(403);
    }
    // Alice's browser, in which somebody else has signed in meanwhile.
    for (const [name, value] of (
      bob.browser.cookies.header(new URL(b.base), { crossSite: false, safe: true }) ?? ""
    )
      .split("; ")
      .map((pair) => pair.split("=") as [string, string]))
      b.alice.browser.cookies.store(new URL(b.base), `${name}=${value}; Path=/`);
    expect((await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page })).status).toBe(
      403,
    );
    expect(await rows(b)).toMatchObject([{ subject: "id-x", generation: 1 }]);
    expect(
      (await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: "http://evil.example/" }))
        .status,
    ).toBe(403);
    expect(
      (await b.alice.browser.get(`${b.base}/workspace/mcp-sessions/account?flow=flow_none`)).status,
    ).toBe(404);
    expect((await b.alice.browser.submit(page.url, { flow, choice: "both" }, { from: page })).status).toBe(
      400,
    );
  });

  it.each(["delete", "orphan", "reauth", "depart"] as const)(
    "UP-31 access that ends while the person thinks (%s): nothing stored, and the provider is told at once",
    async (deed) => {
      const b = await bench(open);
      const [before] = await rows(b);
      const link = await b.again();
      const page = await connectAs(b, b.alice.browser, link, { sub: "id-y" });
      if (deed === "delete") {
        const gone = await b.database.transaction((tx) => b.vault.revoke(tx, before!.id, "deleted"));
        expect(gone).toBe(true);
      }
      if (deed === "orphan")
        await b.database.transaction((tx) => b.vault.setAccess(tx, b.alice.owner, new Set()));
      if (deed === "reauth") await b.again();
      if (deed === "depart") {
        await b.alice.browser.get(link);
        await b.alice.browser.submitForm(
          /mcp-sessions\/auth/,
          {},
          { stopAt: `${b.base}/api/oauth/callback` },
        );
      }
      const flow = page.url.searchParams.get("flow")!;
      const late = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
      expect(late.status, deed).toBe(410);
      expect(await bearer(b, b.alice.owner)).toBe(
        deed === "delete" || deed === "orphan" ? "needs_user" : "Bearer access-of-id-x",
      );
      expect((await told(b)).toSorted()).toEqual((deed === "delete" ? [...ofX, ...ofY] : ofY).toSorted());
    },
  );

  it("UP-31 a question that nobody answers expires, and nothing is left behind", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    b.world.advance(9 * 60_000);
    await b.vault.dropAbandoned();
    expect(await held(b)).toHaveLength(1);
    b.world.advance(2 * 60_000);
    const flow = page.url.searchParams.get("flow")!;
    const late = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
    expect(late.status).toBe(410);
    expect(late.html).toContain("nothing was changed");
    await b.vault.dropAbandoned();
    expect(await told(b)).toEqual(ofY);
    expect(await rows(b)).toMatchObject([{ subject: "id-x", generation: 1 }]);
  });

  it("UP-31 a person who is switched off replaces nothing, and can when on again", async () => {
    const b = await bench(open);
    const page = await connectAs(b, b.alice.browser, await b.again(), { sub: "id-y" });
    const flow = page.url.searchParams.get("flow")!;
    const disable = (disabled: number) =>
      b.database.db.updateTable("upstreams").set({ disabled }).where("id", "=", b.upstream.id).execute();
    await disable(1);
    const refused = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
    expect(refused.status).toBe(409);
    await disable(0);
    const done = await b.alice.browser.submit(page.url, { flow, choice: "replace" }, { from: page });
    expect(done.html).toContain("Connected");
    expect(await rows(b)).toMatchObject([{ subject: "id-y" }]);
  });

  it("UP-31 during a consent the identity's own account is what is asked about", async () => {
    const r = await rig(open, closing);
    const identity: Owner = { mode: "vk", id: "vk_consent" };
    const give = (sub: string) =>
      r.database.transaction((tx) =>
        r.vault.put(tx, {
          owner: identity,
          upstreamId: r.upstream.id,
          account: "",
          replaces: sub === "id-x" ? undefined : "id-x",
          secret: {
            kind: "oauth",
            accessToken: new Hidden(`access-of-${sub}`),
            subject: sub,
            oauthConfigId: r.upstream.oauthConfigId!,
          },
        }),
      );
    await give("id-x");
    r.gate.set(r.upstream.id, "flow_consent");
    const browser = r.browser();
    const back = `${r.base}/oauth/consent/mcps`;
    const connect = async (sub: string) => {
      const authorize = `${r.base}/api/oauth/per-user/upstream/authorize?mcp_client_id=${r.upstream.id}&flow_id=flow_consent`;
      const { stoppedAt } = await browser.get(authorize, { stopAt: `${r.base}/api/oauth/callback` });
      answerAs(r, sub);
      return browser.get(stoppedAt!, { stopAt: back });
    };
    expect((await connect("id-x")).stoppedAt?.search).toBe("?flow_id=flow_consent");
    const page = await connect("id-y");
    expect(page.html).toContain(asked);
    const done = await browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace", stopAt: back });
    expect(done.stoppedAt?.search).toBe("?flow_id=flow_consent");
    const twice = await browser.submit(
      page.url,
      { flow: page.url.searchParams.get("flow")!, choice: "replace" },
      { from: page, stopAt: back },
    );
    expect(twice.stoppedAt?.search).toBe("?flow_id=flow_consent");
    // Nothing of the identity's changes before the submit.
    expect(await bearer(r, identity)).toBe("Bearer access-of-id-x");
    const adopt = () => r.database.transaction((tx) => r.vault.adopt(tx, "flow_consent", identity));
    expect(await adopt()).toEqual([r.upstream.id]);
    expect(await bearer(r, identity)).toBe("Bearer access-of-id-y");
    // Another account took the identity's place after the person was asked: the submit does not swap it unseen.
    await connect("id-z");
    await browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace", stopAt: back });
    await r.database.db
      .updateTable("credentials")
      .set({ subject: "id-w" })
      .where("owner_id", "=", identity.id)
      .execute();
    expect(await adopt()).toEqual([]);
    expect(await bearer(r, identity)).toBe("Bearer access-of-id-y");
    expect(await told(r)).toEqual(expect.arrayContaining(["access-of-id-z", "refresh-of-id-z"]));
  });

  it("UP-31 a consent that ends takes the open question with it", async () => {
    const r = await rig(open, closing);
    const browser = r.browser();
    r.gate.set(r.upstream.id, "flow_consent");
    const connect = async (sub: string) => {
      const authorize = `${r.base}/api/oauth/per-user/upstream/authorize?mcp_client_id=${r.upstream.id}&flow_id=flow_consent`;
      const { stoppedAt } = await browser.get(authorize, { stopAt: `${r.base}/api/oauth/callback` });
      answerAs(r, sub);
      return browser.get(stoppedAt!, { stopAt: `${r.base}/oauth/consent/mcps` });
    };
    await connect("id-x");
    expect((await connect("id-y")).html).toContain(asked);
    // As the submit does it: open links end first, whatever they are.
    const owner: Owner = { mode: "flow", id: "flow_consent" };
    await r.database.transaction((tx) => r.flows.end(tx, { owner }, "consent_submitted"));
    expect(await held(r)).toHaveLength(1);
    await r.vault.dropAbandoned();
    expect(await told(r)).toEqual(expect.arrayContaining(ofY));
  });
});
