import { type LogLevel, openLog, openOutbound, systemWorld, type World } from "../base/index.ts";

/** The world of a command that calls nobody. Close its `outbound` at the end. */
export function commandWorld(logLevel: LogLevel = "warn"): World {
  return systemWorld({
    outbound: openOutbound({ allow: { admin: [], stranger: [] } }),
    log: openLog(logLevel),
  });
}
