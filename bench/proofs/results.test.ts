import { expect, test } from "vitest";
import { withSection } from "./results.ts";

test("a section takes the place of the one with its title and leaves the others alone", () => {
  const first = withSection("# Proofs\n\nIntro.", "Race", ["one", "", "- a"]);
  expect(first).toBe("# Proofs\n\nIntro.\n\n## Race\n\none\n\n- a\n");
  const second = withSection(first, "Race again", ["two"]);
  const third = withSection(second, "Race", ["three $& $1"]);
  expect(third).toBe("# Proofs\n\nIntro.\n\n## Race\n\nthree $& $1\n\n## Race again\n\ntwo\n");
});
