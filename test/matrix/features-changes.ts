import { expect } from "vitest";
import type { Cell, Feature } from "./features.ts";
import { laterOf, uriOf } from "./peer-content.ts";
import type { Json } from "./revisions.ts";

/** Streams toward an upstream are opened behind a client's back: what changed before one stood is told by the next change. */
const TRIES = 8;
const TRY_MS = 1_500;

async function told(
  { client }: Cell,
  wanted: (change: Json) => boolean,
  cause: () => Promise<unknown>,
): Promise<void> {
  const heard = client.changes.first(wanted).then(() => true);
  for (let left = TRIES; left > 0; left--) {
    await cause();
    const late = Promise.withResolvers<false>();
    const timer = setTimeout(() => late.resolve(false), TRY_MS);
    const came = await Promise.race([heard, late.promise]);
    clearTimeout(timer);
    if (came) return;
  }
  expect.fail("nothing was told");
}

export const changeFeatures: readonly Feature[] = [
  {
    name: "what changed at a resource that the client follows",
    run: async (cell) => {
      const { client, upstream } = cell;
      const uri = uriOf(upstream.name);
      await client.follow(uri);
      const isIt = ({ method, params }: Json) =>
        method === "notifications/resources/updated" && params.uri === uri;
      await told(cell, isIt, () => client.callTool(`${upstream.name}-write`));
    },
  },
  {
    name: "that a list changed",
    run: async (cell) => {
      const { client, upstream, token } = cell;
      await client.follow(uriOf(upstream.name));
      const isIt = ({ method }: Json) => method === "notifications/resources/list_changed";
      let next = client.changes.next(isIt);
      await client.callTool(`${upstream.name}-add-resource`, { token });
      // Other upstreams' lists change, too: each time it is told, the client looks.
      for (let listed = false; !listed; ) {
        await next;
        next = client.changes.next(isIt);
        listed = (await client.listResources()).some(({ uri }) => uri === laterOf(upstream.name, token));
      }
    },
  },
];
