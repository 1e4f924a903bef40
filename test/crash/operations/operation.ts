import type { FaultPoint } from "../../../src/base/index.ts";
import type { Database } from "../../../src/db/index.ts";
import type { House } from "../house.ts";
import type { Shape } from "../provider.ts";

/** What comes before the first dot of a fault point. */
export type OperationName = NameOf<FaultPoint>;
type NameOf<Point> = Point extends `${infer Name}.${string}` ? Name : never;

/** An operation that stands right before its first fault point. */
export interface Prepared {
  /** Sets it off; the gateway dies in the middle of it, so nobody waits for what it says. */
  drive(): Promise<unknown>;
  /** What must be true of the rows that it left. */
  inspect(database: Database): Promise<void>;
  /** The gateway is back: goes on as a person or a client would, to the end, and checks what it cost. */
  finish(): Promise<void>;
}

export interface Operation {
  /** What the provider makes of a refresh token that it replaced; both where it matters. */
  shapes?: readonly Shape[];
  /** The gateway dies when a point is reached for the n-th time; once for each of these. Default once, the first time. */
  times?: Partial<Record<FaultPoint, readonly number[]>>;
  /** `name`: one that nobody has in this house. */
  prepare(house: House, name: string, point: FaultPoint): Promise<Prepared>;
}

/** The number of a point within its operation. */
export function stepOf(point: FaultPoint): number {
  return Number(point.split(".")[1]);
}
