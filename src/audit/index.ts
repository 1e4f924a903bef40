/**
 * Who did what, for whom, when: append-only. An entry that must stand or fall with a change is written in its
 * transaction; calls are batched in memory and written once a second. Searching and exporting come with the dashboard.
 */
export { Audit, type AuditEntry } from "./audit.ts";
