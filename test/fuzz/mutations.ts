import fc from "fast-check";

/** Values that readers disagree about, or that are too much of something; and what `withHandles` puts in. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -0,
    -1,
    1.5,
    2 ** 53,
    "",
    "__proto__",
    "constructor",
    "../..",
    "\u0000",
    "\ud800",
    "ü☃😀\u202e",
    "2.0",
    [],
    {},
    [[]],
    { jsonrpc: "2.0" },
    "x".repeat(5_000),
    "$handle0",
    "$handle1",
    "$handle2",
    "$handle3",
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.integer(),
  fc.double(),
  fc.jsonValue({ maxDepth: 3 }),
);

const names = fc.constantFrom(
  "id",
  "method",
  "params",
  "jsonrpc",
  "result",
  "error",
  "_meta",
  "name",
  "uri",
  "cursor",
  "arguments",
  "requestState",
  "inputResponses",
  "progressToken",
  "requestId",
  "__proto__",
  "toString",
  "Method",
);

/** One change to a value: where, counted over all its members, and what. */
const change = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), at: fc.nat(200), value: odd }),
  fc.record({ kind: fc.constant("drop" as const), at: fc.nat(200) }),
  fc.record({ kind: fc.constant("add" as const), at: fc.nat(200), name: names, value: odd }),
  fc.record({ kind: fc.constant("move" as const), at: fc.nat(200), to: fc.nat(200) }),
  fc.record({ kind: fc.constant("wrap" as const), at: fc.nat(200), levels: fc.integer({ min: 1, max: 90 }) }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

/** One change to the text of it. */
const cut = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ kind: "none" as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("end" as const), at: fc.nat(4_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("byte" as const), at: fc.nat(4_000), byte: fc.nat(255) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("twice" as const), at: fc.nat(50), name: names, value: odd }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("batch" as const), times: fc.nat(5) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("number" as const),
      text: fc.constantFrom("1e400", "-0", "9".repeat(400), "1E-400", "0123"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("around" as const),
      before: fc.constantFrom("\ufeff", " \n", "\u0000", "]"),
      after: fc.constantFrom("", "}", " null", "\n{}"),
    }),
  },
);
type Cut = typeof cut extends fc.Arbitrary<infer T> ? T : never;

export interface Mutation {
  changes: Change[];
  cut: Cut;
}

/** What is done to one message on its way. Most are changed a little: what is refused at once reaches nothing. */
export const mutations: fc.Arbitrary<Mutation> = fc.record({
  changes: fc.array(change, { maxLength: 4 }),
  cut,
});

type Holder = Record<string | number, unknown>;

/** The bytes of a message so changed; the value itself stays as it was. */
export function mutated(value: unknown, { changes, cut }: Mutation): Buffer {
  let copy: unknown = structuredClone(value);
  for (const one of changes) copy = changed(copy, one);
  return cutText(JSON.stringify(copy) ?? "null", cut);
}

function changed(root: unknown, one: Change): unknown {
  const box: Holder = { root };
  const places = placesIn(box, "root");
  const [holder, key] = places[one.at % places.length]!;
  const value = holder[key];
  switch (one.kind) {
    case "set":
      // A copy: what is shared would be changed for other runs, too, and could come to hold itself.
      holder[key] = structuredClone(one.value);
      break;
    case "drop":
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else if (holder !== box) delete holder[key];
      break;
    case "add":
      if (typeof value === "object" && value !== null && !Array.isArray(value))
        define(value as Holder, one.name, structuredClone(one.value));
      break;
    case "move": {
      const [from, name] = places[one.to % places.length]!;
      holder[key] = structuredClone(from[name]);
      break;
    }
    case "wrap":
      for (let level = 0; level < one.levels; level++)
        holder[key] = level % 2 ? { in: holder[key] } : [holder[key]];
  }
  return box.root;
}

/** As its own member, also `__proto__`. */
function define(holder: Holder, name: string, value: unknown): void {
  Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true });
}

function placesIn(holder: Holder, key: string | number, found: [Holder, string | number][] = []) {
  found.push([holder, key]);
  const value = holder[key];
  if (found.length < 400 && typeof value === "object" && value !== null)
    for (const name of Object.keys(value)) placesIn(value as Holder, name, found);
  return found;
}

function cutText(text: string, one: Cut): Buffer {
  switch (one.kind) {
    case "none":
      return Buffer.from(text);
    case "end":
      return Buffer.from(text).subarray(0, one.at % (text.length + 1));
    case "byte": {
      const bytes = Buffer.from(text);
      bytes[one.at % bytes.length] = one.byte;
      return bytes;
    }
    case "twice": {
      const opened = [...text.matchAll(/\{(?=")/g)].map(({ index }) => index + 1);
      if (opened.length === 0) return Buffer.from(text);
      const at = opened[one.at % opened.length]!;
      const member = `${JSON.stringify(one.name)}:${JSON.stringify(one.value) ?? "null"},`;
      return Buffer.from(text.slice(0, at) + member + text.slice(at));
    }
    case "batch":
      return Buffer.from(`[${Array(one.times).fill(text).join(",")}]`);
    case "number":
      return Buffer.from(text.replace(/\d+(?=[,}])/, one.text));
    case "around":
      return Buffer.from(one.before + text + one.after);
  }
}

/** Puts what was found out at run time in place of `$handle0`, `$handle1`, …; plain ASCII, so it breaks no bytes around it. */
export function withHandles(bytes: Buffer, handles: readonly string[]): Buffer {
  const text = bytes.toString("latin1");
  if (!text.includes("$handle")) return bytes;
  return Buffer.from(
    text.replaceAll(/\$handle(\d)/g, (all, at) => handles[at] ?? all),
    "latin1",
  );
}
