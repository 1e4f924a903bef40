/** RFC 5424 §6.2.1, in MCP's words, the least severe first. */
export const severities: readonly string[] = [
  "debug",
  "info",
  "notice",
  "warning",
  "error",
  "critical",
  "alert",
  "emergency",
];

/** Whether `level` is less severe than `least`; a word that is no level is below nothing. */
export function isBelow(level: unknown, least: string): boolean {
  const at = severities.indexOf(String(level));
  return at >= 0 && at < severities.indexOf(least);
}
