import type { KeyedHash } from "../base/index.ts";
import type { Database, Db, Flow, FlowState, Flows, Tx } from "../db/index.ts";
import type { Client } from "./client.ts";

/** How long a device waits for its person: both codes, and what the person does after typing one (RFC 8628 §3.2). */
export const DEVICE_MS = 10 * 60_000;
/** Seconds between two questions of the device, and what is added each time it asks too soon (RFC 8628 §3.5). */
export const INTERVAL_S = 5;

/** A device that waits. Once allowed, the flow hangs on the grant (`parentId`). */
export type DeviceData = {
  client: Client;
  scope: string;
  resource: string;
  /** The address it asked from, to be shown to the person. */
  askedFrom: string;
  /** Seconds. */
  interval: number;
  /** Milliseconds since 1970. */
  polledAt?: number;
};

export type DeviceFlow = Flow<DeviceData>;

export interface DeviceFlowParts {
  database: Database;
  flows: Flows;
  hash: KeyedHash;
}

/** A device code is found with its client only: to another it is one that never existed (RFC 8628 §3.4). */
export function deviceHandle(hash: KeyedHash, clientIdHash: string, deviceCode: string): string {
  return hash.of("device_code", `${clientIdHash} ${deviceCode}`);
}

export function userCodeHandle(hash: KeyedHash, userCode: string): string {
  return hash.of("user_code", userCode);
}

/** The device that shows this code, as long as it waits and nobody else has answered it. `userCode` as `readUserCode` gives it. */
export async function waitingDevice(
  { flows, hash }: DeviceFlowParts,
  db: Db | Tx,
  userCode: string,
): Promise<DeviceFlow | undefined> {
  const code = await flows.peek(db, "user_code", { handleHash: userCodeHandle(hash, userCode) });
  const id = code.state === "pending" ? code.flow.parentId : undefined;
  if (id === undefined) return undefined;
  const device: FlowState<DeviceData> = await flows.peek<DeviceData>(db, "device", { id });
  return device.state === "pending" ? device.flow : undefined;
}
