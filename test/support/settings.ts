import type { Settings } from "../../src/base/index.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** The defaults of contract section 11, on a loopback base URL. */
export function testSettings(changes: Partial<Settings> = {}): Settings {
  return {
    baseUrl: new URL("http://localhost:8080"),
    aliases: [],
    enforceAuthOnInference: true,
    deviceAuthorization: true,
    tempTokenAuth: false,
    toolTimeoutMs: 30_000,
    toolSyncIntervalMs: 600_000,
    toolPins: "keep",
    allowedOrigins: [],
    nativeRedirectSchemes: ["cursor", "vscode", "vscode-insiders", "windsurf"],
    accessTokenMs: DAY_MS,
    grantIdleMs: 30 * DAY_MS,
    grantMaxMs: 180 * DAY_MS,
    keyGraceMs: DAY_MS,
    auditRetentionDays: 365,
    trustedProxies: [],
    sessionIdleMs: DAY_MS / 2,
    sessionMaxMs: 7 * DAY_MS,
    ...changes,
  };
}
