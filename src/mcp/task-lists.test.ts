import { afterEach, expect, test } from "vitest";
import { startTaskUpstream, type TaskUpstream } from "../../test/peers/task-upstream.ts";
import type { Owner } from "../base/index.ts";
import { type Bench, type Json, openBench } from "./endpoint.suite.ts";
import { disconnected } from "./pushes.suite.ts";

let bench: Bench;
let peers: TaskUpstream[];
afterEach(async () => {
  await bench.close();
  await Promise.all(peers.map((peer) => peer.close()));
});

interface Stage {
  key: string;
  list(cursor?: string, key?: string): Promise<Json>;
  call(name: string, key?: string): Promise<string>;
  session: Record<string, string>;
  owner: Owner;
}

const account = { auth_type: "per_user_oauth", oauth_config: { client_id: "c" } };

/** Upstreams where each caller has an account of their own, and a key that may use everything there. */
async function open(names: string[], options: Json = {}, tools = ["*"]): Promise<Stage> {
  peers = await Promise.all(
    names.map(() => startTaskUpstream({ form: "core", bind: "credential", pageSize: 2, ...options })),
  );
  bench = await openBench(...(peers as never[]));
  const configs = [];
  const upstreams = [];
  for (const [at, name] of names.entries()) {
    const upstream = await bench.upstream(peers[at] as never, { name, ...account });
    await bench.upstreams.recordTools(upstream.id, peers[at]!.tools as never, peers[at]!.features);
    configs.push({ upstreamId: upstream.id, tools });
    upstreams.push(bench.upstreams.get(upstream.id));
  }
  const { value, owner } = await bench.key("k", configs);
  for (const upstream of upstreams) await bench.connected(owner, upstream);
  const session = await bench.session(value, {});
  return {
    key: value,
    session,
    owner,
    list: async (cursor, key = value) => {
      const params = cursor === undefined ? {} : { cursor };
      return (await bench.legacy(key, "tasks/list", params, key === value ? session : {})).body;
    },
    call: async (name) => {
      const { body } = await bench.legacy(value, "tools/call", { name, task: {} }, session);
      return body.result.task.taskId;
    },
  };
}

test("tasks of all upstreams, page by page, under the ids they were given by", async () => {
  const stage = await open(["one", "two"]);
  const made: string[] = [];
  for (let n = 0; n < 3; n++) made.push(await stage.call("one-slow_compute"));
  made.push(await stage.call("two-slow_compute"));
  const first = await stage.list();
  expect(first.result.tasks).toHaveLength(3);
  const second = await stage.list(first.result.nextCursor);
  expect(second.result).not.toHaveProperty("nextCursor");
  const listed = [...first.result.tasks, ...second.result.tasks];
  expect(listed.map(({ taskId }: Json) => taskId).sort()).toEqual([...made].sort());
  expect(listed[0]).toMatchObject({ status: "completed", ttl: 60_000 });
  const { taskId } = listed[0];
  expect((await bench.legacy(stage.key, "tasks/get", { taskId }, stage.session)).body.result.taskId).toBe(
    taskId,
  );
});

test("one upstream that fails, is slow, or says what cannot be read, leaves the others", async () => {
  const stage = await open(["bad", "good", "odd"]);
  await stage.call("good-slow_compute");
  peers[0]!.instead.set("tasks/list", () => ({ error: { code: -32603, message: "no" } }));
  peers[2]!.instead.set("tasks/list", () => ({ result: { tasks: [{ taskId: 5 }] } }));
  const { result } = await stage.list();
  expect(result.tasks).toHaveLength(1);
  await peers[0]!.close();
  expect((await stage.list()).result.tasks).toHaveLength(1);
});

test("a cursor of another caller, or of nobody, is refused", async () => {
  const stage = await open(["one"]);
  for (let n = 0; n < 3; n++) await stage.call("one-slow_compute");
  const { result } = await stage.list();
  expect((await stage.list("made-up")).error.code).toBe(-32602);
  const upstreamId = bench.upstreams.all()[0]!.id;
  const other = await bench.key("other", [{ upstreamId, tools: ["*"] }]);
  await bench.connected(other.owner, bench.upstreams.get(upstreamId), "at-2");
  const session = await bench.session(other.value, {});
  const own = await bench.legacy(other.value, "tasks/list", {}, session);
  expect(own.body.result.tasks).toEqual([]);
  const stolen = await bench.legacy(other.value, "tasks/list", { cursor: result.nextCursor }, session);
  expect(stolen.body.error.code).toBe(-32602);
});

test("who may use some tools only is not shown the tasks of all of them", async () => {
  const stage = await open(["one"], {}, ["slow_compute"]);
  const taskId = await stage.call("one-slow_compute");
  expect((await stage.list()).error.code).toBe(-32601);
  const asked = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "c", version: "1" } };
  const { body } = await bench.legacy(stage.key, "initialize", asked);
  expect(body.result.capabilities.tasks).not.toHaveProperty("list");
  expect((await bench.legacy(stage.key, "tasks/get", { taskId }, stage.session)).body.result.taskId).toBe(
    taskId,
  );
});

test("an upstream where the caller has no account is left out, and nobody is asked to connect one", async () => {
  const stage = await open(["one", "two"]);
  await stage.call("one-slow_compute");
  const two = bench.upstreams.all().find(({ name }) => name === "two")!;
  await disconnected(bench, stage.owner, two);
  const before = (await bench.database.db.selectFrom("flows").select("id").execute()).length;
  expect((await stage.list()).result.tasks).toHaveLength(1);
  expect(peers[1]!.calls("tasks/list")).toEqual([]);
  expect((await bench.database.db.selectFrom("flows").select("id").execute()).length).toBe(before);
});

test("a list that the upstream does not declare is not offered", async () => {
  const stage = await open(["one"], { list: false });
  expect((await stage.list()).error.code).toBe(-32601);
});
