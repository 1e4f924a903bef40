import type { Requirement } from "./requirement.ts";

/** RFCs. */
export const standards: readonly Requirement[] = [
  {
    id: "RFC6749-4.4",
    section: "RFC 6749 section 4.4",
    text: "A token of the gateway's own is obtained with its client credentials, once on all replicas, and again before it expires.",
  },
  {
    id: "RFC7523-2.2",
    section: "RFC 7523 section 2.2",
    text: "Client assertions name client, issuer, a fresh jti and a short life, and are signed with the given key.",
    title: "with private_key_jwt: the key signs, is never shown, and a kept one is not aimed elsewhere",
  },
  {
    id: "RFC6749-5.1",
    section: "RFC 6749 §5.1",
    text: "The token answer is complete and never cached.",
    title: "TK-04 a code gives a pair, never cached, with the life counted from submit",
  },
  {
    id: "RFC6749-6",
    section: "RFC 6749 §6",
    text: "A refresh token serves its own client, and never more scope than was granted.",
    title: "TK-09 TK-10 a refresh token serves its own client, scope and resource only",
  },
  {
    id: "RFC7009-2",
    section: "RFC 7009 §2",
    text: "A client revokes its own tokens, and nobody else's.",
    title: "TK-14 revocation: the refresh token ends the grant, the access token itself, a stranger nothing",
  },
  {
    id: "RFC7591-3.2.1",
    section: "RFC 7591 §3.2.1",
    text: "A registration whose secret has expired is not used any more.",
  },
  {
    id: "RFC7636-4.6",
    section: "RFC 7636 §4.6",
    text: "A wrong code_verifier is refused.",
    title: "PK-06 PK-13 a wrong verifier is refused and burns the code",
  },
  {
    id: "RFC7644-3.4.2.2",
    section: "RFC 7644 §3.4.2.2",
    text: "Filters: every operator, grouping, value filters, on every attribute, without case where the schema says so.",
  },
  {
    id: "RFC7644-3.5.2",
    section: "RFC 7644 §3.5.2",
    text: "PATCH: add, replace, remove with and without paths and value filters, all or nothing.",
  },
  {
    id: "RFC7521-4.1",
    section: "RFC 7521 §4.1",
    text: "An assertion may come without a client; client credentials that come with it must be valid.",
  },
  {
    id: "RFC7523-3",
    section: "RFC 7523 §3",
    text: "An assertion is accepted for us, now, and, where replay is not allowed, once.",
  },
  { id: "RFC8252-7.3", section: "RFC 8252 §7.3", text: "Of a loopback redirect URI only the port is free." },
  {
    id: "RFC8414-3.3",
    section: "RFC 8414 §3.3",
    text: "Metadata of another issuer than was asked is not used.",
    title: "UP-07 metadata of another issuer, or of none, is not used; no registration, no token call",
  },
  {
    id: "RFC8628-3.3",
    section: "RFC 8628 §3.3",
    text: "The person is shown which client waits, and the code may be typed in any case.",
  },
  {
    id: "RFC8628-3.4",
    section: "RFC 8628 §3.4",
    text: "A device code gives tokens once, after the person allowed it.",
  },
  {
    id: "RFC8628-3.5",
    section: "RFC 8628 §3.5",
    text: "authorization_pending, slow_down, access_denied and expired_token.",
  },
  { id: "RFC8628-5.1", section: "RFC 8628 §5.1", text: "Guesses at user codes are limited." },
  {
    id: "RFC8628-6.1",
    section: "RFC 8628 §6.1",
    text: "User codes have letters that are not taken for others, and are read in any case, with or without punctuation.",
  },
  {
    id: "RFC8693-2.2",
    section: "RFC 8693 §2.2",
    text: "A token exchange says what type of token it issued.",
  },
  {
    id: "RFC8725-3.11",
    section: "RFC 8725 §3.11",
    text: "Assertions of one kind never count as another: typ decides.",
  },
  {
    id: "RFC8707-2",
    section: "RFC 8707 §2",
    text: "A code is bound to the resource it was granted for.",
    title: "PK-10 PK-11 AZ-15 a code is bound to client, redirect URI and resource",
  },
  {
    id: "RFC9207-2",
    section: "RFC 9207 §2",
    text: "The authorization answer carries iss.",
    title: "leads from authorize to a code that carries state and iss, and moves what was connected",
  },
  {
    id: "RFC9207-2.4",
    section: "RFC 9207 §2.4",
    text: "iss of a provider is compared as it is, before code or error count.",
    title: "UP-06 iss is compared as it is, before code or error count",
  },
  {
    id: "RFC9728-3.3",
    section: "RFC 9728 §3.3",
    text: "Metadata about another resource is not used.",
    title: "UP-11 metadata about another resource is refused",
  },
  {
    id: "RFC9728-5.1",
    section: "RFC 9728 §5.1",
    text: "The 401 of /mcp names the resource metadata.",
    title: "an unknown slug is 401 with its own metadata without a token, 404 with one",
  },
  {
    id: "RFC7523-2.1",
    section: "RFC 7523 §2.1",
    text: "A workload's JWT is shown for a token, and no other grant is tried when it is refused.",
  },
  {
    id: "RFC8693-2.1",
    section: "RFC 8693 §2.1",
    text: "An identity assertion is exchanged for the audience of the upstream's authorization server, with the client of each server at its own.",
    title:
      "exchanges an identity assertion first, each server given its own client's secret and no other (SEP-990)",
  },
  {
    id: "RFC7592-2.3",
    section: "RFC 7592 §2.3",
    text: "A registration that is given up is ended at the server that made it.",
  },
  {
    id: "RFC9449-4.2",
    section: "RFC 9449 §4.2",
    text: "A proof is for one request: method, address, token, a fresh id.",
  },
  {
    id: "RFC9449-8",
    section: "RFC 9449 §8",
    text: "A nonce of the server's goes into the next proof, and a request that lacked it is made once more.",
  },
];
