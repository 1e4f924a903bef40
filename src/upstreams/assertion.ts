import { open } from "node:fs/promises";
import { Hidden } from "../base/index.ts";

const MAX_BYTES = 64 * 1024;
/** What may stand in a form field of a token request; a file often ends with a line break. */
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

/**
 * What is shown for a token of the gateway's own, as it is now: platforms write a new one into the file before the old one
 * ends. Undefined when the file cannot be read, or holds nothing of the kind.
 */
export async function readAssertion(file: string): Promise<Hidden | undefined> {
  try {
    const handle = await open(file, "r");
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(MAX_BYTES + 1), 0, MAX_BYTES + 1, 0);
      const text = buffer.toString("utf8", 0, bytesRead).trim();
      return bytesRead <= MAX_BYTES && VISIBLE_ASCII.test(text) ? new Hidden(text) : undefined;
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}
