import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const version = z.string().regex(/^\d+(\.\d+){0,3}$/, "numbers and dots");

const entry = z.strictObject({
  title: z.string().min(1),
  /** Over `clientInfo.name`; of the entries that fit, the first counts. */
  name: z.string().regex(/^\^/, "anchored at the start").refine(isPattern, "not a regular expression"),
  /** First version it holds for, and first it holds for no more. */
  from: version.optional(),
  before: version.optional(),
  /** `dropped`: declared, and the person never sees the link. `absent`: not declared. */
  url_elicitation: z.enum(["works", "dropped", "absent", "unknown"]),
  /** Whether a person reads the text of a failed tool. */
  shows_tool_errors: z.enum(["to_the_person", "to_the_model", "unknown"]),
  /** Of the newest evidence. */
  date: z.string().regex(/^\d{4}-\d{2}(-\d{2})?$/, "YYYY-MM or YYYY-MM-DD"),
  sources: z.array(z.string().regex(/^https:\/\/\S+$/, "an https URL")).min(1),
  note: z.string().min(1),
});

/** What is known of clients that tell us who they are, newest evidence each: the schema of `client-behaviour.json`. */
export const clientBehaviourSchema = z.array(entry);

export type ClientBehaviour = z.output<typeof entry>;

/** The name and version a client gives itself. Anybody may say anything, so it decides only in which words we ask. */
export interface ClientName {
  name?: unknown;
  version?: unknown;
}

const MAX_NAME = 128;

/** Looks clients up in the table that comes with the gateway. */
export class ClientBehaviours {
  readonly #known: readonly { pattern: RegExp; behaviour: ClientBehaviour }[];

  constructor(behaviours: readonly ClientBehaviour[]) {
    this.#known = behaviours.map((behaviour) => ({ pattern: new RegExp(behaviour.name), behaviour }));
  }

  /** Throws when the file does not fit its schema: the gateway does not start on a table it cannot read. */
  static shipped(): ClientBehaviours {
    const file = join(import.meta.dirname, "client-behaviour.json");
    return new ClientBehaviours(clientBehaviourSchema.parse(JSON.parse(readFileSync(file, "utf8"))));
  }

  of(client: ClientName | undefined): ClientBehaviour | undefined {
    const name = client?.name;
    if (typeof name !== "string" || name.length > MAX_NAME) return undefined;
    return this.#known.find(
      ({ pattern, behaviour }) => pattern.test(name) && holdsFor(behaviour, client?.version),
    )?.behaviour;
  }
}

/** A version that says nothing fits every range: the more careful entry of a client comes first in the file. */
function holdsFor({ from, before }: ClientBehaviour, sent: unknown): boolean {
  const numbers = typeof sent === "string" ? /^v?(\d{1,9}(?:\.\d{1,9}){0,3})/.exec(sent)?.[1] : undefined;
  if (numbers === undefined) return true;
  if (from !== undefined && compare(numbers, from) < 0) return false;
  return before === undefined || compare(numbers, before) < 0;
}

function compare(one: string, other: string): number {
  const a = one.split(".").map(Number);
  const b = other.split(".").map(Number);
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function isPattern(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}
