import { afterEach, beforeEach, expect, it } from "vitest";
import { openLog } from "../base/index.ts";
import { type Database, openDatabase } from "../db/index.ts";
import { checkDefinition, ToolLists, type Upstream } from "./index.ts";
import { openMail, search } from "./tool-pins.suite.ts";

/** More than any small number of workers. */
const DEAD = 30;

let database: Database;
beforeEach(async () => {
  database = await openDatabase("sqlite::memory:", openLog("silent"));
});
afterEach(() => database.close());

/** Upstreams that never answer until told, listed before one that does. */
async function start() {
  const { upstreams, world, id } = await openMail(database);
  world.advance(700_000);
  const create = (name: string) =>
    upstreams.create(
      checkDefinition({ name, connection_string: `https://${name}.example/mcp`, tools_to_execute: ["*"] }),
      "api",
    );
  for (let each = 0; each < DEAD; each++) await create(`dead-${each}`);
  const alive = await create("alive");
  const dead = Promise.withResolvers<void>();
  const asked: string[] = [];
  const tools = new ToolLists({
    world,
    upstreams,
    probe: async ({ name }: Upstream) => {
      asked.push(name);
      if (name.startsWith("dead")) await dead.promise;
      return [search];
    },
    hasCredential: async () => true,
  });
  return { upstreams, tools, asked, alive: alive.id, mail: id, release: dead.resolve };
}

it("an upstream's list is read although thirty others never answer", async () => {
  const { upstreams, tools, alive, release } = await start();
  const round = tools.refreshDue();
  await expect.poll(() => upstreams.get(alive).tools).toEqual([search]);
  release();
  await round;
  expect(upstreams.all().every(({ tools }) => tools.length === 1)).toBe(true);
});

it("a round ends at its deadline, and the next asks nobody twice who has not answered yet", async () => {
  const { tools, asked, release } = await start();
  await tools.refreshDue(1);
  await tools.refreshDue(1);
  expect(asked.filter((name) => name.startsWith("dead"))).toHaveLength(DEAD);
  release();
  await tools.settled();
});
