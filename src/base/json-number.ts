const minus = 0x2d;
const zero = 0x30;

/** Up to 15 significant digits come back from a double as they went in; only the unusual is converted to see. */
export function survives(text: string, from: number, end: number): boolean {
  let plain = end - from <= 15 && !(text.charCodeAt(from) === minus && text.charCodeAt(from + 1) === zero);
  for (let at = from; plain && at < end; at++) {
    const unit = text.charCodeAt(at);
    plain = unit !== 0x65 && unit !== 0x45;
  }
  if (plain) return true;
  const source = text.slice(from, end);
  return sameNumber(source, Number(source));
}

function sameNumber(source: string, value: number): boolean {
  const written = String(value);
  if (written === source) return true;
  // String(-0) is "0", and so is what JSON.stringify writes.
  if (!Number.isFinite(value) || Object.is(value, -0)) return false;
  return decimal(source) === decimal(written);
}

/** One spelling for equal decimal numbers: `1.50e2` and `150` are both `15e1`. */
function decimal(text: string): string {
  const negative = text.startsWith("-");
  const [mantissa = "", exponent = "0"] = text
    .slice(negative ? 1 : 0)
    .toLowerCase()
    .split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = whole + fraction;
  let first = 0;
  while (first < digits.length && digits.charCodeAt(first) === zero) first++;
  let last = digits.length;
  while (last > first && digits.charCodeAt(last - 1) === zero) last--;
  if (first === last) return "0";
  const power = Number(exponent) - fraction.length + (digits.length - last);
  return `${negative ? "-" : ""}${digits.slice(first, last)}e${power}`;
}
