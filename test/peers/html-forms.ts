export type FormFields = Record<string, string | string[]>;

export interface Button {
  name: string;
  value: string;
  text: string;
  /** Where this button sends the form instead. */
  action?: string;
}

export interface Form {
  /** As written in the page, entities decoded; empty for the page itself. */
  action: string;
  method: "get" | "post";
  /** What the form sends when nobody touches it; buttons apart. A name that occurs twice has an array. */
  fields: FormFields;
  buttons: Button[];
  html: string;
}

export interface Link {
  href: string;
  text: string;
}

/** A string is looked for in the action or href, an expression in the HTML of the element. */
export type Matcher<T> = string | RegExp | ((candidate: T) => boolean);

/** The first form that matches; throws with what there is. */
export function form(html: string, matcher: Matcher<Form> = () => true): Form {
  const all = forms(html);
  const found = all.find((f) => matches(matcher, f, f.action, f.html));
  if (found) return found;
  const seen = all.map((f) => `${f.method} ${f.action}`).join(", ") || "no form at all";
  throw new Error(`No form matches ${String(matcher)}; the page has ${seen}. ${textOf(html).slice(0, 500)}`);
}

export function forms(html: string): Form[] {
  return [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gis)].map(([whole, opening = "", inner = ""]) => {
    const attributes = attributesOf(opening);
    return {
      action: attributes.action ?? "",
      method: attributes.method?.toLowerCase() === "post" ? "post" : "get",
      fields: fieldsOf(inner),
      buttons: buttonsOf(inner),
      html: whole,
    };
  });
}

/** The first link that matches; throws with what there is. */
export function link(html: string, matcher: Matcher<Link> = () => true): Link {
  const all = links(html);
  const found = all.find((l) => matches(matcher, l, l.href, `${l.href} ${l.text}`));
  if (found) return found;
  throw new Error(
    `No link matches ${String(matcher)}; the page has ${all.map((l) => l.href).join(", ") || "none"}`,
  );
}

export function links(html: string): Link[] {
  return [...html.matchAll(/<a\b([^>]*)>(.*?)<\/a>/gis)]
    .map(([, opening = "", inner = ""]) => ({ href: attributesOf(opening).href ?? "", text: textOf(inner) }))
    .filter((l) => l.href !== "");
}

/** What a person reads: tags, styles and scripts removed, spaces collapsed. */
export function textOf(html: string): string {
  const bare = html.replace(/<(style|script|head)\b.*?<\/\1>/gis, " ").replace(/<[^>]*>/g, " ");
  return decode(bare).replace(/\s+/g, " ").trim();
}

function matches<T>(matcher: Matcher<T>, candidate: T, address: string, html: string): boolean {
  if (typeof matcher === "function") return matcher(candidate);
  return typeof matcher === "string" ? address.includes(matcher) : matcher.test(html);
}

function fieldsOf(html: string): FormFields {
  const fields: FormFields = {};
  const add = (name: string | undefined, value: string): void => {
    if (!name) return;
    const before = fields[name];
    fields[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  };
  for (const [, opening = ""] of html.matchAll(/<input\b([^>]*)>/gi)) {
    const { name, type = "text", value, checked, disabled } = attributesOf(opening);
    if (disabled !== undefined || /^(submit|button|image|reset|file)$/i.test(type)) continue;
    const box = /^(checkbox|radio)$/i.test(type);
    if (!box || checked !== undefined) add(name, value ?? (box ? "on" : ""));
  }
  for (const [, opening = "", inner = ""] of html.matchAll(/<textarea\b([^>]*)>(.*?)<\/textarea>/gis)) {
    add(attributesOf(opening).name, decode(inner));
  }
  for (const [, opening = "", inner = ""] of html.matchAll(/<select\b([^>]*)>(.*?)<\/select>/gis)) {
    const options = [...inner.matchAll(/<option\b([^>]*)>([^<]*)/gi)].map(([, o = "", label = ""]) => ({
      value: attributesOf(o).value ?? decode(label).trim(),
      selected: attributesOf(o).selected !== undefined,
    }));
    const chosen = options.find((o) => o.selected) ?? options[0];
    if (chosen) add(attributesOf(opening).name, chosen.value);
  }
  return fields;
}

function buttonsOf(html: string): Button[] {
  const found = [...html.matchAll(/<button\b([^>]*)>(.*?)<\/button>/gis)].map(
    ([, opening = "", inner = ""]) => ({
      ...attributesOf(opening),
      text: textOf(inner),
    }),
  );
  const inputs = [...html.matchAll(/<input\b([^>]*)>/gi)]
    .map(([, opening = ""]) => attributesOf(opening))
    .filter((a) => a.type?.toLowerCase() === "submit")
    .map((a) => ({ ...a, text: a.value ?? "" }));
  return [...found, ...inputs].map((a: Record<string, string | undefined> & { text: string }) => ({
    name: a.name ?? "",
    value: a.value ?? "",
    text: a.text,
    ...(a.formaction !== undefined && { action: a.formaction }),
  }));
}

function attributesOf(opening: string): Record<string, string | undefined> {
  const found: Record<string, string> = {};
  for (const match of opening.matchAll(/([^\s=/>"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?/g)) {
    found[(match[1] ?? "").toLowerCase()] = decode(match[2] ?? match[3] ?? match[4] ?? "");
  }
  return found;
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

function decode(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (decimal) return String.fromCodePoint(Number(decimal));
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16));
    return ENTITIES[name] ?? whole;
  });
}
