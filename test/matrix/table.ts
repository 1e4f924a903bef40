import { type Feature, features } from "./features.ts";
import { revisions } from "./revisions.ts";

/** The table of docs/guide/clients.md: what reaches what, from the same list that the matrix runs. */
export function reachTable(): string {
  const rows = features.map((feature) => {
    const { because: client = "" } = feature.client ?? {};
    const { because: upstream = "" } = feature.upstream ?? {};
    const program = feature.program ? `not over stdio: ${feature.program}` : "";
    const why = [...new Set([client, upstream, program])].filter(Boolean).join("; ");
    return `| ${feature.name} | ${revisionsOf(feature.client)} | ${revisionsOf(feature.upstream)} |${why && ` ${why}`} |`;
  });
  return ["| what | to clients of | from servers of | elsewhere |", "|---|---|---|---|", ...rows].join("\n");
}

function revisionsOf({ since, until }: Partial<NonNullable<Feature["upstream"]>> = {}): string {
  if (since === undefined || since === revisions[0]) return "every revision";
  if (since === until) return `${since} alone`;
  return since === revisions.at(-1) ? since : `${since} and later`;
}
