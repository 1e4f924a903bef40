/**
 * Signing in elsewhere: the providers of the configuration, the round trips to them and back, what they say of a person and
 * what it means here, linking by proof, and log-out in both directions. Who a person is, their account, groups and session
 * are identity/'s; the trust in tokens is jwt/'s.
 */
export { assertionOf, type Said } from "./claims.ts";
export { type PersonMapping, type SsoProvider, type SsoSettings, ssoConfig } from "./config.ts";
export { signInOrigins } from "./parts.ts";
export { Sso } from "./sso.ts";
