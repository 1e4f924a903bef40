import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { faultPoints, openLog, openOutbound, systemWorld } from "./index.ts";

const src = join(import.meta.dirname, "..");
const sources = globSync("**/*.ts", { cwd: src })
  .filter((path) => !/\.(test|suite)\.ts$/.test(path) && !path.endsWith("fault-points.ts"))
  .map((path) => ({ path, text: readFileSync(join(src, path), "utf8") }));

it("R30 every fault point is named once and stands in the code; none is reached that is not named", () => {
  expect(new Set(faultPoints).size).toBe(faultPoints.length);
  const reached = sources.flatMap(({ text }) =>
    [...text.matchAll(/reach\("([^"]+)"\)/g)].map(([, name]) => name!),
  );
  expect([...new Set(reached)].toSorted()).toEqual([...faultPoints].toSorted());
});

it("R30 the steps of an operation are numbered from one on", () => {
  const operations = Map.groupBy(faultPoints, (point) => point.split(".")[0]!);
  for (const points of operations.values())
    expect(points.map((point) => Number(point.split(".")[1]))).toEqual(points.map((_, index) => index + 1));
});

it("R30 nothing in a process that serves dies at one, and nothing there can change that", async () => {
  const outbound = openOutbound({ allow: { admin: [], stranger: [] } });
  const { reach } = systemWorld({ outbound, log: openLog("silent") });
  for (const point of faultPoints) reach(point);
  await outbound.close();
  // Only a test hands `openGateway` a second argument.
  const calls = sources.flatMap(({ text }) =>
    [...text.matchAll(/openGateway\(([^)]*)\)/g)].map(([, given]) => given!),
  );
  expect(calls.filter((given) => given !== "config" && !given.includes("overrides"))).toEqual([]);
});
