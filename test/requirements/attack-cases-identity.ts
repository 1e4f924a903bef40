import type { Requirement } from "./requirement.ts";

/** Attacks on who somebody is: accounts, sign-ins, tokens and their end. */
export const identityAttacks: readonly Requirement[] = [
  { id: "ID-15", section: "attack cases: Identity", text: "JWT algorithm confusion." },
  {
    id: "ID-16",
    section: "attack cases: Identity",
    text: "kid, jku, x5u and jwk: keys are never chosen by the token.",
  },
  {
    id: "ID-19",
    section: "attack cases: Identity",
    text: "Token cache key: what was proved of one token counts for no other.",
  },
  { id: "ID-18", section: "attack cases: Identity", text: "Subject mapping across issuers." },
  {
    id: "ID-29",
    section: "attack cases: Identity",
    text: "SSO login: an answer that is wrong in one thing, or another browser's, signs nobody in.",
  },
  {
    id: "AD-18",
    section: "attack cases: Administration",
    text: "A privilege that is given or taken counts from the next request on, by a group too.",
  },
  {
    id: "AD-16",
    section: "attack cases: Administration",
    text: "Host poisoning in links: addresses are made of the configured base URL only.",
  },
];
