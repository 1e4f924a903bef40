import { OutboundError } from "./outbound-error.ts";

/**
 * Reads a body to its end, or stops and cancels it as soon as it holds more than `maxBytes` after decoding: 10 KB of
 * gzip can be 10 GB (UP-20). Throws `OutboundError` `too_large`, and whatever the stream throws.
 */
export async function readBounded(
  body: AsyncIterable<Uint8Array> | null,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early cancels the stream.
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new OutboundError("too_large");
    chunks.push(chunk);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}
