import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";

const HEAD = [
  "# Proofs",
  "",
  "What was shown in full, and when. Each section is written by the program that it names; the test command runs the same proofs shortened.",
].join("\n");

/** Where and when, in one line: `2026-11-23 · Node 24.21.0 · 2 cores (model)`. */
export function place(date = new Date().toISOString().slice(0, 10)): string {
  const model = cpus()[0]?.model.trim() || "unknown processor";
  return `${date} · Node ${process.versions.node} · ${availableParallelism()} cores (${model})`;
}

/**
 * Puts a section (`## title`, then `lines` as Markdown) into a page, in the place of the section with this title or at the end; makes
 * the page where there is none. Other sections stay. `file`: usually `new URL("../proofs.md", import.meta.url)`.
 */
export function writeSection(file: URL | string, title: string, lines: readonly string[]): void {
  const before = existsSync(file) ? readFileSync(file, "utf8") : HEAD;
  writeFileSync(file, withSection(before, title, lines));
}

/** The page with that section in it. */
export function withSection(page: string, title: string, lines: readonly string[]): string {
  const section = [`## ${title}`, "", ...lines].join("\n").trimEnd();
  const [head = "", ...sections] = page.split(/^(?=## )/m).map((part) => part.trimEnd());
  const at = sections.findIndex((part) => part.split("\n", 1)[0] === `## ${title}`);
  if (at === -1) sections.push(section);
  else sections[at] = section;
  return `${[head, ...sections].join("\n\n")}\n`;
}
