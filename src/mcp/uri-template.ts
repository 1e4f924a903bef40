/** A template's literal text, or an expression: what may stand in its place. */
type Part = string | { crosses: boolean; least: 0 | 1 };

export interface UriTemplate {
  /** The literal text before the first expression. */
  prefix: string;
  matches(uri: string): boolean;
}

const LONGEST_URI = 8_192;

/**
 * Which URIs a template of RFC 6570 can expand to, its operators and modifiers included; the values of variables are not
 * looked at. Linear in template times URI whatever an upstream writes: no regular expression is made of it.
 */
export function uriTemplate(template: string): UriTemplate {
  const parts = partsOf(template);
  const [first] = parts;
  return {
    prefix: typeof first === "string" ? first : "",
    matches: (uri) => uri.length <= LONGEST_URI && expandsTo(parts, uri),
  };
}

function partsOf(template: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (let open = template.indexOf("{"); open >= 0; open = template.indexOf("{", at)) {
    const close = template.indexOf("}", open);
    if (close < 0) break;
    if (open > at) parts.push(template.slice(at, open));
    parts.push(expression(template.slice(open + 1, close)));
    at = close + 1;
  }
  if (at < template.length) parts.push(template.slice(at));
  return parts;
}

/** RFC 6570 §2.2: operators that reserve nothing, or that begin a path, parameters or a query, may cross a slash. */
function expression(text: string): Part {
  const operator = text.charAt(0);
  if (operator === "+") return { crosses: true, least: 1 };
  // An explode modifier repeats the variable; an undefined one is nothing at all.
  if ("#/;?&".includes(operator) && operator !== "") return { crosses: true, least: 0 };
  if (operator === ".") return { crosses: false, least: 0 };
  return { crosses: false, least: 1 };
}

/** Every position that can be reached, part by part. */
function expandsTo(parts: readonly Part[], uri: string): boolean {
  let reached: number[] = [0];
  for (const part of parts) {
    reached = typeof part === "string" ? afterText(uri, part, reached) : afterAny(uri, part, reached);
    if (reached.length === 0) return false;
  }
  return reached.at(-1) === uri.length;
}

function afterText(uri: string, text: string, from: readonly number[]): number[] {
  return from.filter((at) => uri.startsWith(text, at)).map((at) => at + text.length);
}

function afterAny(uri: string, { crosses, least }: Exclude<Part, string>, from: readonly number[]): number[] {
  const reached: number[] = [];
  // Ascending and no position twice: what an earlier start reached needs no second visit.
  let next = 0;
  for (const start of from) {
    const slash = crosses ? -1 : uri.indexOf("/", start);
    const end = slash < 0 ? uri.length : slash;
    for (let at = Math.max(start + least, next); at <= end; at++) reached.push(at);
    next = Math.max(next, end + 1);
  }
  return reached;
}
