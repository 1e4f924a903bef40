import ipaddr from "ipaddr.js";

/** Public by its number, but a platform's own: Azure's WireServer answers there with machine credentials. */
const platformAddresses = new Set(["168.63.129.16"]);

const globalUnicast = ipaddr.parseCIDR("2000::/3") as [ipaddr.IPv6, number];

/**
 * Whether an IP address (no brackets, no zone) is public unicast, the only kind we connect to unasked. Everything that
 * embeds an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) is refused: what it leads to depends on the network.
 */
export function isPublicAddress(address: string): boolean {
  if (address.includes("%") || platformAddresses.has(address)) return false;
  let parsed: ipaddr.IPv4 | ipaddr.IPv6;
  try {
    // The four-part form only: `127.1` and `0177.0.0.1` are spellings no resolver answers with.
    if (!address.includes(":") && !ipaddr.IPv4.isValidFourPartDecimal(address)) return false;
    parsed = ipaddr.parse(address);
  } catch {
    return false;
  }
  if (parsed.range() !== "unicast") return false;
  // RFC 4291 §2.4: outside 2000::/3 nothing is assigned, but `::7f00:1` is an old way of writing 127.0.0.1.
  return parsed.kind() === "ipv4" || parsed.match(globalUnicast);
}

/**
 * Reads a comma list of exact `host:port` (the value of POSTERN_OUTBOUND_ALLOW) into entries as a URL spells them.
 * Throws an `Error` whose message names the entry and what is wrong with it.
 */
export function parseAllowList(text: string): string[] {
  const entries = text.split(",").map((entry) => entry.trim());
  if (entries.length === 1 && entries[0] === "") return [];
  return [...new Set(entries.map(parseEntry))];
}

function parseEntry(entry: string): string {
  const wrong = (what: string) => new Error(`"${entry}" is not an exact host:port: ${what}`);
  if (entry === "") throw wrong("there is an empty entry in the list");
  if (/[/?#@\\\s*]/.test(entry)) throw wrong("write neither a scheme, a path, a user name nor a wildcard");
  const colon = entry.lastIndexOf(":");
  const [host, port] = [entry.slice(0, Math.max(colon, 0)), entry.slice(colon + 1)];
  if (colon < 1 || (entry.startsWith("[") && entry.endsWith("]")))
    throw wrong("write the port too, as in host:443");
  if (host.includes(":") && !/^\[[^[\]]*\]$/.test(host))
    throw wrong("write an IPv6 address in brackets, as in [::1]:443");
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535)
    throw wrong("the port is a number from 1 to 65535");
  const asWritten = canonicalHost(host);
  if (asWritten === undefined) throw wrong("the host is not one a URL can have");
  if (asWritten !== host.toLowerCase()) throw wrong(`a URL spells this host ${asWritten}`);
  return `${asWritten}:${port}`;
}

function canonicalHost(host: string): string | undefined {
  const url = URL.parse(`https://${host}/`);
  return url === null || url.hostname === "" ? undefined : url.hostname;
}

/** The `host:port` of a URL as an allow list writes it: the port always there, IPv6 in brackets. */
export function hostAndPort(url: { protocol: string; hostname: string; port: string }): string {
  return `${url.hostname}:${url.port || (url.protocol === "http:" ? "80" : "443")}`;
}
