import { lookup as lookupName } from "node:dns/promises";
import { isIP, type LookupFunction, type Socket } from "node:net";
import { buildConnector } from "undici";
import { hostAndPort, isPublicAddress } from "./address.ts";
import { OutboundError } from "./outbound-error.ts";
import type { Tls } from "./tls.ts";

export interface ResolvedAddress {
  address: string;
  family: number;
}

export type Resolve = (hostname: string) => Promise<ResolvedAddress[]>;

/** The operating system's resolver, `/etc/hosts` included: what Node itself would have connected to. */
export const resolveName: Resolve = (hostname) => lookupName(hostname, { all: true, verbatim: true });

/**
 * Makes undici's connections, for one policy. A connection goes to a public unicast address or, whatever the address,
 * to a host and port on `allowed` (attack rule R1). `tls`: an upstream's own way of speaking TLS; what may be reached stays
 * the same.
 */
export function guardedConnect(
  allowed: ReadonlySet<string>,
  resolve: Resolve,
  timeout: number,
  tls?: Tls,
): buildConnector.connector {
  const options = { allowH2: false, timeout, autoSelectFamily: true, secureContext: tls?.secureContext() };
  // Certificates are checked whatever NODE_TLS_REJECT_UNAUTHORIZED says.
  const dialPublic = buildConnector({
    ...options,
    rejectUnauthorized: true,
    lookup: checkedLookup(resolve, isPublicAddress),
  });
  // Looking away is possible only where the operator named this very host and port, as it is now, not when it was stored.
  const dialAllowed = buildConnector({
    ...options,
    rejectUnauthorized: tls?.settings.insecureSkipVerify !== true,
    lookup: checkedLookup(resolve, () => true),
  });
  return ({ hostname, protocol, port }, callback) => {
    const literal = isIP(hostname);
    const host = literal === 6 ? `[${hostname}]` : hostname;
    const exempt = allowed.has(hostAndPort({ protocol, port, hostname: host }));
    // Node never asks `lookup` about an IP literal.
    if (literal !== 0 && !exempt && !isPublicAddress(hostname)) {
      callback(new OutboundError("refused"), null);
      return;
    }
    const dial = exempt ? dialAllowed : dialPublic;
    // Built from the URL alone: a caller's Host header must not choose the name the certificate is checked against.
    const named = literal === 0 ? hostname.replace(/\.$/, "") : undefined;
    const servername = protocol === "https:" ? (tls?.settings.serverName ?? named) : undefined;
    dial({ hostname, host, protocol, port, servername }, (error, socket) => {
      if (error) callback(error, null);
      else if (exempt || hasPublicPeer(socket)) callback(null, socket);
      else callback(new OutboundError("refused"), null);
    });
  };
}

/** Asked once per connection; Node connects to what it returns and to nothing else, so an answer that flips later is never used. */
export function checkedLookup(resolve: Resolve, accept: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const known = addresses.filter(({ address }) => isIP(address) !== 0);
        const [first] = known;
        if (first === undefined) return callback(new OutboundError("unresolvable"), "", 0);
        // One bad answer among good ones condemns the name: Node would be free to choose it.
        if (addresses.length !== known.length || !known.every(({ address }) => accept(address))) {
          return callback(new OutboundError("refused"), "", 0);
        }
        if (options.all) callback(null, known);
        else callback(null, first.address, first.family);
      },
      () => callback(new OutboundError("unresolvable"), "", 0),
    );
  };
}

/** The last check, on the connection itself; one that fails is closed before a byte of HTTP is sent. */
export function hasPublicPeer(socket: Socket): boolean {
  const peer = socket.remoteAddress;
  if (peer !== undefined && isPublicAddress(peer)) return true;
  socket.destroy();
  return false;
}
