import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { alice, bearer, bench, give, row, up1 } from "./vault.suite.ts";

const SECONDS = 1000;

onBothDatabases("tokens that live for seconds", (open) => {
  it("are refreshed, not given up, when they end on their way to the upstream, again and again", async () => {
    const b = await bench(open);
    await give(b, alice, 20 * SECONDS);
    b.provider.answer = () => {
      const { body } = b.provider.rotated();
      return { body: { ...(body as object), expires_in: 20 } };
    };
    for (let round = 0; round < 3; round++) {
      const opened = await b.vault.open(alice, up1);
      if (opened.outcome !== "ready") throw new Error(opened.outcome);
      b.world.advance(20 * SECONDS);
      await b.vault.markRejected(opened.credential);
    }
    expect(await bearer(b.vault, alice)).toBe("Bearer access-3");
    expect((await row(b, alice)).status).toBe("active");
  });
});
