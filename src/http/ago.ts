const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago, roughly, for people to read; a date from a week on. Both in milliseconds since 1970. */
export function ago(at: number, now: number): string {
  const passed = now - at;
  if (passed < 2 * MINUTE) return "just now";
  if (passed < HOUR) return `${Math.floor(passed / MINUTE)} minutes ago`;
  if (passed < 2 * HOUR) return "an hour ago";
  if (passed < DAY) return `${Math.floor(passed / HOUR)} hours ago`;
  if (passed < 2 * DAY) return "a day ago";
  if (passed < 7 * DAY) return `${Math.floor(passed / DAY)} days ago`;
  return `on ${new Date(at).toISOString().slice(0, 10)}`;
}
