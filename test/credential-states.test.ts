import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { events, type Kind, type State, states, table } from "../src/vault/transitions.suite.ts";

const page = readFileSync(join(import.meta.dirname, "../docs/guide/credential-states.md"), "utf8");

/** What the page calls a state; `lost` has a name of its own for each kind. */
function nameOf(state: State, kind: Kind): string {
  const lost = kind === "oauth" ? "needs_reauth" : "needs_update";
  return state === "none" ? "none" : `\`${state.replace("lost", lost).replace("+", "` + `")}\``;
}

/** The table under a heading, without its line of dashes. */
function tableUnder(heading: string): string[][] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|") && !/^\|[-|]+\|$/.test(line));
  return rows.map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}

it.each([
  ["OAuth tokens", "oauth"],
  ["Header values", "headers"],
] as const)(
  "credential-states.md has the transitions of %s that the vault is held to, and no other",
  (heading, kind) => {
    const [head, ...rows] = tableUnder(heading);
    expect(head).toEqual(["", ...states.map((state) => nameOf(state, kind))]);
    const expected = events.map((event) => [
      event,
      ...states.map((from) => {
        const to = table[kind][from][event];
        return to === undefined ? "–" : nameOf(to, kind);
      }),
    ]);
    expect(rows).toEqual(expected);
  },
);
