import { afterEach, expect, it } from "vitest";
import { watchedLog } from "../../test/support/leavings.ts";
import { openDatabase } from "../db/index.ts";
import { discoveryOwner, type ToolDefinition, ToolLists } from "./index.ts";
import { openMail, search, sendMail } from "./tool-pins.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A per-person upstream that shows each of its readers something else. */
async function start() {
  const database = await openDatabase("sqlite::memory:", watchedLog());
  closing.push(() => database.close());
  const mail = await openMail(database, { auth_type: "per_user_headers", per_user_header_keys: ["X-Key"] });
  const readers: string[] = [];
  const state = { administrator: true };
  const tools = new ToolLists({
    world: mail.world,
    upstreams: mail.upstreams,
    probe: async (_upstream, owner): Promise<ToolDefinition[]> => {
      readers.push(`${owner!.mode}:${owner!.id}`);
      return [{ ...sendMail, description: `For ${owner!.id}` }, search];
    },
    hasCredential: async ({ mode }) => mode !== "discovery" || state.administrator,
  });
  const connect = async (id: string) => {
    mail.world.advance(700_000);
    tools.connected({ mode: "user", id }, mail.id);
    await tools.settled();
  };
  return { ...mail, readers, state, connect };
}

it("a list is read with the administrator's credential as long as there is one, whoever connects", async () => {
  const { id, readers, state, connect, heard, tools } = await start();
  await connect("alice");
  await connect("bob");
  const { mode, id: reader } = discoveryOwner({ id });
  expect(readers).toEqual(Array(2).fill(`${mode}:${reader}`));
  expect(heard).toHaveLength(1);
  state.administrator = false;
  for (const person of ["alice", "bob", "alice", "bob"]) await connect(person);
  expect(readers.slice(2)).toEqual(["user:alice", "user:bob", "user:alice", "user:bob"]);
  expect(heard.map(({ held }) => held.length)).toEqual([1, 1, 1]);
  expect(tools()).toEqual([search, sendMail]);
});
