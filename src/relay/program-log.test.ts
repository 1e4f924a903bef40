import fc from "fast-check";
import { expect, test } from "vitest";
import { Hidden, type Log } from "../base/index.ts";
import { LineReader } from "./lines.ts";
import { ProgramLog } from "./program-log.ts";

let now = 0;

function logOf(values: Record<string, string>, args: string[] = []) {
  const written: { event: string; fields: object }[] = [];
  const note = (event: string, fields: object = {}) => void written.push({ event, fields });
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  const env = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, new Hidden(value)]));
  const command = {
    command: "x",
    args: args.map((arg) => new Hidden(arg)),
    env,
    secrets: Object.keys(values),
  };
  return { written, program: new ProgramLog(log, "acme", command, () => now) };
}

const lines = (written: { fields: object }[]) =>
  written.map(({ fields }) => (fields as { line: string }).line);

test("secrets are taken out wherever a line or a chunk is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40_000), { maxLength: 4 }), fc.nat(20_000), (cuts, before) => {
      const secret = "s3cret-value-of-a-variable";
      const { written, program } = logOf({ KEY: secret });
      const text = Buffer.from(`${"-".repeat(before)}${secret}${secret}${"-".repeat(500)}${secret}\nnext\n`);
      const at = [0, ...cuts.map((cut) => cut % text.length).sort((a, b) => a - b), text.length];
      for (let index = 1; index < at.length; index++) program.push(text.subarray(at[index - 1], at[index]));
      const said = lines(written).join("\n");
      expect(said).not.toContain("s3cret");
      expect(said.endsWith("next")).toBe(true);
      expect(said.length).toBeLessThan(2_100);
    }),
  );
});

test("each line of a key of many lines, tokens among arguments and what looks like a credential go too", () => {
  const { written, program } = logOf({ KEY: "-----BEGIN-----\nabcdefgh\n" }, [
    "--token=tok_1234567890abcdef",
    "--verbose",
  ]);
  program.push(
    Buffer.from(
      "line abcdefgh\ntok_1234567890abcdef --verbose\nAuthorization: Bearer abc.def-ghi_123\nghp_zyxwvuts12345\n",
    ),
  );
  expect(lines(written)).toEqual([
    "line [hidden]",
    "[hidden] --verbose",
    "Authorization: [hidden]",
    "[hidden]",
  ]);
});

test("a flood is counted, not written", () => {
  const { written, program } = logOf({});
  program.push(Buffer.from("x\n".repeat(100_000)));
  expect(written).toHaveLength(200);
  now += 10_000;
  program.push(Buffer.from("again\n"));
  expect(written.slice(200)).toMatchObject([
    { event: "upstream.stderr_dropped", fields: { lines: 99_800 } },
    { event: "upstream.stderr", fields: { line: "again" } },
  ]);
});

test("lines come out whole however the bytes are cut, and one that is too long is refused", () => {
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[^\n]{0,20}$/), { maxLength: 10 }),
      fc.integer({ min: 1, max: 7 }),
      (given, size) => {
        const bytes = Buffer.from(given.map((line) => `${line}\n`).join(""));
        const reader = new LineReader(200);
        const read: string[] = [];
        for (let from = 0; from < bytes.length; from += size)
          for (const line of reader.push(bytes.subarray(from, from + size)))
            read.push(Buffer.from(line).toString());
        expect(read).toEqual(given);
      },
    ),
  );
  expect(() => new LineReader(10).push(Buffer.alloc(11))).toThrow("upstream_too_large");
});
