import { decide } from "../access/index.ts";
import type { Gone } from "../base/index.ts";
import type { View } from "./connect-tools.ts";
import type { McpParts } from "./parts.ts";

const LONGEST_MS = 10_000;

/**
 * A call may come before its upstream's list was read for the first time: its person has just connected the first account
 * ever. Waits for that list, at most 10 s; true when there is more to find now.
 */
export async function awaitFirstRead(
  { upstreams, tools }: Pick<McpParts, "upstreams" | "tools">,
  name: string,
  { caller, rules }: View,
  signal: Gone,
): Promise<boolean> {
  const unread = upstreams
    .all()
    .filter(
      (upstream) =>
        upstream.toolsSyncedAt === undefined &&
        name.startsWith(`${upstream.name}-`) &&
        decide(rules, upstream),
    );
  if (unread.length === 0) return false;
  const { owner, vouched } = caller;
  await within(Promise.all(unread.map(({ id }) => tools.firstRead(id, owner, vouched))), LONGEST_MS, signal);
  return unread.some(({ id }) => upstreams.find(id)?.toolsSyncedAt !== undefined);
}

/**
 * Where callers' own tokens are exchanged, lists are read while one of them is here: waits for those that nobody has read yet,
 * at most 10 s; what is old is read behind. Nothing for who brings no such token.
 */
export async function readForCaller(
  { upstreams, tools }: Pick<McpParts, "upstreams" | "tools">,
  { caller, rules }: Pick<View, "caller" | "rules">,
  signal: Gone,
): Promise<void> {
  const { owner, vouched } = caller;
  if (!vouched) return;
  const usable = upstreams.all().filter((upstream) => upstream.exchanged && decide(rules, upstream));
  const unread = usable.filter(({ toolsSyncedAt }) => toolsSyncedAt === undefined);
  for (const { id } of usable) tools.met?.(owner, vouched, id);
  if (unread.length > 0)
    await within(
      Promise.all(unread.map(({ id }) => tools.firstRead(id, owner, vouched))),
      LONGEST_MS,
      signal,
    );
}

/** Resolves when `work` has ended, time is up, or the client is gone. */
function within(work: Promise<unknown>, ms: number, signal: Gone): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    work.then(done, (error) => {
      done();
      reject(error);
    });
  });
}
