import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { openapiText } from "../../scripts/openapi.ts";
import { FILE, permissionsText } from "../../scripts/permissions.ts";

it("permissions.md says what the routes declare, and has every route (node scripts/permissions.ts writes it)", async () => {
  const text = readFileSync(FILE, "utf8");
  const isSame = text === (await permissionsText());
  expect(
    isSame,
    "docs/guide/permissions.md is not what the routes make: run `node scripts/permissions.ts`",
  ).toBe(true);
  const { paths } = JSON.parse(await openapiText()) as { paths: Record<string, object> };
  const documented = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
  );
  // The document of the routes is not among the routes of the folders.
  const missing = documented.filter((name) => !text.includes(`\`${name}\``));
  expect(missing).toEqual(["GET /api/openapi.json"]);
});
