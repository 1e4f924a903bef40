import { type FaultPoint, faultPoints } from "../../src/base/index.ts";
import { type House, type HouseOptions, House as Houses } from "./house.ts";
import { operations } from "./operations/index.ts";
import type { OperationName } from "./operations/operation.ts";
import type { Shape } from "./provider.ts";
import { Unanswered } from "./web.ts";

/** One way to die: at this point, when it is reached for the n-th time, with a provider of this shape. */
export interface Death {
  at: FaultPoint;
  nth: number;
  shape: Shape;
}

/** Every death of the operations that a serving gateway does. */
export function allDeaths(): Death[] {
  return faultPoints.flatMap((at) => {
    const operation = operations[nameOf(at) as keyof typeof operations];
    if (!operation) return [];
    const { shapes = ["tolerant"], times = {} } = operation;
    return shapes.flatMap((shape) => (times[at] ?? [1]).map((nth) => ({ at, nth, shape })));
  });
}

export function nameOf(point: FaultPoint): OperationName {
  return point.split(".", 1)[0] as OperationName;
}

/** Whoever does not die was not there; the signal itself takes no time. */
const PATIENCE_MS = 10_000;
let people = 0;

/** Dies once, starts again, goes on, and throws where anything is not as it must be. */
export async function die(house: House, { at, nth, shape }: Death): Promise<void> {
  const operation = operations[nameOf(at) as keyof typeof operations];
  house.provider.shape = shape;
  people += 1;
  const prepared = await operation.prepare(house, `person ${people}`, at);
  await house.gateway.die(at, nth);
  await prepared.drive().catch((error: unknown) => {
    if (!(error instanceof Unanswered)) throw error;
  });
  if (!(await house.gateway.gone(PATIENCE_MS))) throw new Error(`${at} was not reached`);
  await house.look((database) => prepared.inspect(database));
  await house.gateway.start();
  await prepared.finish();
}

/** Dies all these deaths one after the other, in a house of their own; resolves to what went wrong, by death. */
export async function dieAll(
  options: Omit<HouseOptions, "shape">,
  deaths: readonly Death[],
): Promise<string[]> {
  const house = await Houses.open({ ...options, shape: "tolerant" });
  const wrong: string[] = [];
  try {
    for (const death of deaths) {
      try {
        await die(house, death);
      } catch (error) {
        wrong.push(`${death.at} (${death.nth}, ${death.shape}): ${(error as Error).message}`);
        if (!house.gateway.isAlive) await house.gateway.start();
      }
    }
    return wrong;
  } finally {
    await house.close();
  }
}
