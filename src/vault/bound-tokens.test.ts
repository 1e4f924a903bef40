import { calculateJwkThumbprint, decodeProtectedHeader, type JWK } from "jose";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner, ProofKey } from "../base/index.ts";
import { alice, type Bench, bearer, bench, give, hour, row, secret, up1 } from "./vault.suite.ts";

const thumbprintOf = (proof: string | undefined) =>
  calculateJwkThumbprint((decodeProtectedHeader(proof ?? "") as { jwk: JWK }).jwk);

onBothDatabases("tokens that are bound to a key", (open) => {
  /** Answers with tokens of this type. */
  function answering(b: Bench, token_type: string) {
    b.provider.answer = () => {
      const { body } = b.provider.rotated();
      return { body: { ...(body as object), token_type } };
    };
  }

  async function bound(owner: Owner = alice) {
    const b = await bench(open);
    const key = ProofKey.make();
    await give(b, owner, hour, { proofKey: key.secret });
    return { ...b, key };
  }

  it("go out as such, and are refreshed with the key they came with, on any replica", async () => {
    const b = await bound();
    expect(await bearer(b.vault, alice)).toBe("DPoP access-0");
    answering(b, "DPoP");
    b.world.advance(hour);
    expect(await bearer(b.replica(b.database), alice)).toBe("DPoP access-1");
    expect(await thumbprintOf(b.provider.proofs[0])).toBe(b.key.thumbprint);
    b.world.advance(hour);
    expect(await bearer(b.vault, alice)).toBe("DPoP access-2");
    expect(await thumbprintOf(b.provider.proofs[1])).toBe(b.key.thumbprint);
    expect((await row(b, alice)).sealed.toString()).not.toContain("access-");
  });

  it("RFC9449-8 are refreshed once more with the nonce that the server wants", async () => {
    const b = await bound();
    let asked = 0;
    b.provider.answer = () => {
      asked += 1;
      if (asked === 1)
        return { status: 400, body: { error: "use_dpop_nonce" }, headers: { "dpop-nonce": "n-1" } };
      return { body: { ...(b.provider.rotated().body as object), token_type: "DPoP" } };
    };
    b.world.advance(hour);
    expect(await bearer(b.vault, alice)).toBe("DPoP access-1");
    expect(asked).toBe(2);
  });

  it("UP-25 stay when a server finds fault with the proof: the grant is as good as before", async () => {
    const b = await bound();
    b.world.advance(hour);
    for (const error of ["invalid_dpop_proof", "use_dpop_nonce"]) {
      b.provider.answer = () => ({ status: 400, body: { error } });
      expect(await bearer(b.vault, alice)).toBe("unavailable");
      expect((await row(b, alice)).status).toBe("active");
      b.world.advance(61_000);
    }
  });

  it("are bearer tokens from when their server says so, and unbound ones never become bound", async () => {
    const b = await bound();
    answering(b, "Bearer");
    b.world.advance(hour);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    answering(b, "DPoP");
    b.world.advance(hour);
    // A token for a key that nobody proved is not ours.
    expect(await bearer(b.vault, alice)).toBe("unavailable");
    expect(b.provider.proofs.at(-1)).toBeUndefined();
  });

  it("keep their key through a consent, and through the question which account counts", async () => {
    const flow: Owner = { mode: "flow", id: "flow_1" };
    const b = await bound(flow);
    await b.database.transaction((tx) => b.vault.adopt(tx, "flow_1", alice));
    expect(await bearer(b.vault, alice)).toBe("DPoP access-0");

    const key = ProofKey.make();
    const link = await b.flows.start(b.database.db, {
      kind: "connect",
      owner: alice,
      upstreamId: up1.id,
      data: {},
      ttlMs: hour,
    });
    const given = secret(b, hour, { subject: "y", proofKey: key.secret, askedScopes: ["a", "b"] });
    const taken = await b.database.transaction(async (tx) => {
      const held = {
        owner: alice,
        upstreamId: up1.id,
        account: "",
        linkId: link.id,
        before: { subject: "x" },
      };
      const { id } = await b.vault.hold(tx, { ...held, secret: given, browserHash: "h", ttlMs: hour });
      return b.vault.takeHeld(tx, id, "replaced");
    });
    if (taken?.secret.kind !== "oauth") throw new Error("nothing was held");
    expect(ProofKey.open(taken.secret.proofKey ?? new Hidden("")).thumbprint).toBe(key.thumbprint);
    expect(taken.secret.askedScopes).toEqual(["a", "b"]);
  });
});

onBothDatabases("what an upstream wants beyond what was granted", (open) => {
  async function asking(askedScopes?: string[]) {
    const b = await bench(open);
    await give(b, alice, hour, { askedScopes });
    const opened = await b.vault.open(alice, up1);
    if (opened.outcome !== "ready") throw new Error("not ready");
    const { credential } = opened;
    const want = (...scopes: string[]) => b.vault.wantScopes(credential, scopes);
    const wanted = async () => (await b.vault.find(alice, up1.id, ""))?.wantedScopes;
    return { ...b, credential, want, wanted };
  }

  it("UP-21 stands beside the credential, which goes on as it is", async () => {
    const b = await asking(["read"]);
    expect(await b.want("write")).toBe("asked");
    expect(await b.wanted()).toEqual(["read", "write"]);
    expect(await b.want("write")).toBe("asked");
    expect(await b.want("admin", "read")).toBe("asked");
    expect(await b.wanted()).toEqual(["read", "write", "admin"]);
    const { status, generation } = await row(b, alice);
    expect([status, generation]).toEqual(["active", b.credential.generation]);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    const audit = await b.database.db.selectFrom("audit").select("event").execute();
    expect(audit).toHaveLength(2);
  });

  it("UP-21 is not asked for again when it was asked for, nor without end", async () => {
    const b = await asking(["read", "write"]);
    expect(await b.want("write", "read")).toBe("exhausted");
    expect(await b.wanted()).toBeUndefined();
    expect(await b.want(...Array.from({ length: 100 }, (_, index) => `s${index}`))).toBe("exhausted");
    expect(await b.wanted()).toBeUndefined();
  });

  it("is for the credential that was refused, survives its renewal, and ends with its server", async () => {
    const b = await asking();
    expect(await b.want("write")).toBe("asked");
    await give(b, alice, hour, { askedScopes: ["write"] });
    expect(await b.want("admin")).toBe("changed");
    expect(await b.wanted()).toEqual(["write"]);
    await b.database.transaction((tx) => b.vault.needsReauth(tx, up1.id, "issuer_changed"));
    expect(await b.vault.find(alice, up1.id, "")).toMatchObject({
      status: "needs_reauth",
      askedScopes: undefined,
      wantedScopes: undefined,
    });
  });
});
