/** How words are written: `run` finds them, `seam` says that one is several (`createIssue`), `part` finds those. */
interface Script {
  run: RegExp;
  seam: RegExp;
  part: RegExp;
}

function script(upper: string, lower: string, others: string): Script {
  // An acronym may have a plural (`URLs`) and a word behind it (`HTMLPage`).
  const part = `${upper}{2,}s?(?!${lower})|${upper}?${lower}+|${upper}+?(?=${upper}${lower})|${upper}+`;
  return {
    run: new RegExp(`[${upper}${lower}]+|${others}`, "gv"),
    seam: new RegExp(`${lower}${upper}|${upper}{2}${lower}`, "v"),
    part: new RegExp(part, "gv"),
  };
}

/** Scripts that put no space between words: pairs of characters stand in for them. */
const UNSPACED = String.raw`[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]`;
const english = script("[A-Z]", "[a-z]", "[0-9]+");
const any = script(
  String.raw`\p{Lu}`,
  String.raw`[[\p{L}\p{M}]--[\p{Lu}${UNSPACED}]]`,
  String.raw`${UNSPACED}+|\p{N}+`,
);
const isUnspaced = new RegExp(`^${UNSPACED}`, "v");
const isEnglish = /^[\x20-\x7e\s]*$/;

/** Words of English that say nothing about what a tool does. */
const EMPTY = new Set(
  "a an and any are as at be by can for from how i in is it me my of on or please that the this to want with you".split(
    " ",
  ),
);

/**
 * The words of a text as they are compared: small letters, no plural -s; `snake_case` taken apart, and `camelCase` as a whole
 * and in its parts.
 */
export function wordsOf(text: string): string[] {
  const inEnglish = isEnglish.test(text);
  const { run, seam, part } = inEnglish ? english : any;
  const words: string[] = [];
  for (const found of (inEnglish ? text : text.normalize("NFKC")).match(run) ?? []) {
    if (!inEnglish && isUnspaced.test(found)) {
      words.push(...pairsOf(found));
      continue;
    }
    const whole = singular(found.toLowerCase());
    if (!EMPTY.has(whole)) words.push(whole);
    if (!seam.test(found)) continue;
    const parts = found.match(part) ?? [];
    if (parts.length > 1) words.push(...parts.map((one) => singular(one.toLowerCase())));
  }
  return words;
}

function pairsOf(run: string): string[] {
  const characters = [...run];
  if (characters.length < 3) return [run];
  return characters.slice(1).map((character, at) => characters[at]! + character);
}

function singular(word: string): string {
  if (!word.endsWith("s") || word.length < 3 || /(?:ss|us|is)$/.test(word)) return word;
  if (word.endsWith("ies") && word.length > 4) return `${word.slice(0, -3)}y`;
  return word.slice(0, /(?:[^aeiou]ch|each|sh|ss|x|zz)es$/.test(word) ? -2 : -1);
}
