import type { Settings } from "../base/index.ts";

/** A path of ours, or `/`: where a sign-in leads is never another site (no open redirector). */
export function localPath(text: string, settings: Settings): string {
  const url = URL.parse(text, settings.baseUrl.href);
  if (!text.startsWith("/") || url?.origin !== settings.baseUrl.origin) return "/";
  return url.pathname + url.search;
}
