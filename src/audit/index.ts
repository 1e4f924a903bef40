/**
 * Who did what, for whom, when: append-only. An entry that must stand or fall with a change is written in its
 * transaction; calls are batched in memory and written once a second. Read, searched and exported in the order of time;
 * what is older than the retention goes.
 */
export { Audit, type AuditEntry } from "./audit.ts";
export { auditRoutes } from "./audit-routes.ts";
export { sweepAudit } from "./retention.ts";
