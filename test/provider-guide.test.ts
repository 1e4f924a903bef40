import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { GUIDE, withProfiles } from "../scripts/provider-guide.ts";
import { shippedProfiles } from "../src/upstreams/index.ts";

it("providers.md says what the provider profiles say (node scripts/provider-guide.ts writes it)", () => {
  const guide = readFileSync(GUIDE, "utf8");
  expect(guide).toBe(withProfiles(guide, shippedProfiles().all));
  for (const { name } of shippedProfiles().all) expect(guide).toContain(`\n### ${name}\n`);
});
