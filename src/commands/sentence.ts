import { Problem } from "../base/index.ts";

/** What an operator can do about an error of the system; else what it says itself. */
export function sentence(thrown: unknown): string {
  // What the database refused was said for callers; the operator wants what is behind it.
  const error = thrown instanceof Problem && thrown.cause instanceof Error ? thrown.cause : thrown;
  const { code, message, path } = error as { code?: string; message?: string; path?: string };
  if (code === "EADDRINUSE") return "the port is in use. Stop what listens there, or set POSTERN_PORT.";
  if (code === "ECONNREFUSED" || code === "57P03")
    return "the database does not answer. Check POSTERN_DATABASE_URL and that it runs.";
  if (code === "ENOSPC") return "the disk is full. Free some space and try again.";
  if (code === "EACCES" && path) return `${path} may not be read or written by this user.`;
  return message || String(error);
}
