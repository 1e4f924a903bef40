/**
 * The address that counts for rate limits: the peer's, or, when the peer is a proxy the operator trusts, the last
 * address in `X-Forwarded-For` that is not one. A stranger's header changes nothing.
 */
export function remoteAddress(
  peer: string | undefined,
  forwardedFor: string | null,
  trusted: readonly string[],
): string {
  const address = plain(peer ?? "127.0.0.1");
  if (forwardedFor === null || !trusted.includes(address)) return address;
  const hops = forwardedFor.split(",").map((hop) => plain(hop.trim()));
  return hops.findLast((hop) => !trusted.includes(hop)) ?? address;
}

function plain(address: string): string {
  return address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
}
