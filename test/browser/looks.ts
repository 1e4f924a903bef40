import type { Page } from "playwright-core";

/*
 * What can be measured about the looks of a page. The rest is in pictures (screens.ts).
 */

/** WCAG 2.2: 1.4.3 for text; 24 pixels is 2.5.8. Links inside a sentence are exempt from the latter. */
const measure = `(() => {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push("wider than the screen: " + root.scrollWidth + " of " + root.clientWidth);
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.a > 0) return color;
    }
    return { r: 255, g: 255, b: 255 };
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((one, other) => other - one);
    return (x + 0.05) / (y + 0.05);
  };
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const name = element.tagName.toLowerCase() + " " + (element.textContent ?? "").trim().slice(0, 30);
    const ownText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (ownText) {
      const found = ratio(parse(style.color), ground(element));
      if (found < 4.5) faults.push("contrast " + found.toFixed(2) + ": " + name);
    }
    if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && style.display !== "inline")
      faults.push("cut off: " + name);
    const isControl = element.matches("button, .button, input:not([type=hidden]), summary");
    if (isControl && (box.height < 24 || box.width < 24)) faults.push("too small to hit: " + name);
    if (element.matches("input:not([type=hidden])") && element.labels.length === 0) faults.push("no label: " + element.name);
  }
  return faults;
})()`;

/** What is wrong with the page as it stands, in words; empty is good. */
export function lookFaults(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(measure);
}

const focused = `(() => {
  const at = document.activeElement;
  if (!at || at === document.body) return undefined;
  const { outlineStyle, outlineWidth } = getComputedStyle(at);
  return { name: at.getAttribute("aria-label") ?? (at.textContent.trim() || at.id), ring: outlineStyle + " " + outlineWidth };
})()`;

/** What the Tab key comes to, in order, and the ring around each. */
export async function tabStops(page: Page): Promise<{ name: string; ring: string }[]> {
  const stops: { name: string; ring: string }[] = [];
  await page.evaluate("document.activeElement?.blur()");
  for (let steps = 0; steps < 60; steps++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate<{ name: string; ring: string } | undefined>(focused);
    if (stop === undefined) break;
    stops.push(stop);
  }
  return stops;
}
