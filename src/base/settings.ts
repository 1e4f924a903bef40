/**
 * What becomes of a tool whose definition changes: `keep` shows and calls the approved one, `withhold` neither shows nor
 * calls it until the change is approved, `accept` follows every change.
 */
export const toolPinPolicies = ["keep", "withhold", "accept"] as const;
export type ToolPinPolicy = (typeof toolPinPolicies)[number];

/**
 * What the operator chose and many parts need, as one value; config.ts makes it. Times in milliseconds. Some of it changes
 * while the gateway runs (front/running-settings.ts): read a field where it counts, never keep a copy.
 */
export interface Settings {
  /** The public origin: the only source of every URL we print. */
  baseUrl: URL;
  /** Exact further origins that reach us. */
  aliases: readonly string[];
  enforceAuthOnInference: boolean;
  /** Whether devices without a browser may ask for access (RFC 8628). */
  deviceAuthorization: boolean;
  tempTokenAuth: boolean;
  toolTimeoutMs: number;
  toolSyncIntervalMs: number;
  /** For upstreams that say nothing else. */
  toolPins: ToolPinPolicy;
  /** Browser origins that may call `/mcp`. */
  allowedOrigins: readonly string[];
  nativeRedirectSchemes: readonly string[];
  accessTokenMs: number;
  grantIdleMs: number;
  /** 0: no refresh tokens. */
  grantMaxMs: number;
  /** How long the old value of a rotated virtual key counts, unless the rotation says otherwise. */
  keyGraceMs: number;
  /** 0: audit lines are kept for ever. */
  auditRetentionDays: number;
  trustedProxies: readonly string[];
  /** Where forms that sign somebody in or out may lead besides here (CSP `form-action`): to providers, and the hosts these pass people on to. */
  signInOrigins?: readonly string[];
  /** A dashboard session ends without use, and at the latest. */
  sessionIdleMs: number;
  sessionMaxMs: number;
  /** Where passwords known from breaches are asked after, by the beginning of their hash. */
  breachedPasswordsUrl?: string;
}
