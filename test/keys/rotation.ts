import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { type FaultPoint, faultPoints } from "../../src/base/index.ts";
import { commandWorld } from "../../src/commands/world.ts";
import { loadConfig } from "../../src/config.ts";
import { overviewOf, verifyAll } from "../../src/keys/index.ts";
import { openSealedDatabase, sealedColumns } from "../../src/sealed-database.ts";
import type { Bundle } from "../crash/bundle.ts";
import { House, type Kind } from "../crash/house.ts";
import { Member } from "../crash/member.ts";
import { type Caller, fillCredentials, Load, makeCallers } from "./callers.ts";
import type { RotateStart } from "./rotate-child.ts";

export const keyPoints: readonly FaultPoint[] = faultPoints.filter((point) => point.startsWith("keys."));

export interface StageOptions {
  /** The gateway that dies at fault points (test/crash/gateway-child.ts), and the rotation (rotate-child.ts). */
  programs: { gateway: Bundle; rotate: Bundle };
  kind: Kind;
  credentials: number;
  callers: number;
  spreadMs: number;
  postgres?: string;
}

/** A gateway that serves, many credentials, and people who call. */
export class RotationStage {
  readonly house: House;
  readonly callers: readonly Caller[];
  readonly #environment: Record<string, string>;
  readonly #rotate: Bundle;

  private constructor(house: House, callers: readonly Caller[], rotate: Bundle) {
    this.#rotate = rotate;
    this.house = house;
    this.callers = callers;
    this.#environment = { ...house.environment };
  }

  static async open({ programs, ...options }: StageOptions): Promise<RotationStage> {
    const { kind, credentials, callers, spreadMs, postgres } = options;
    // A lost refresh would show: such a provider ends what presents an old token.
    const house = await House.open({ program: programs.gateway, kind, shape: "strict", postgres });
    house.provider.accessTokenTtl = Math.ceil(spreadMs / 1000);
    await (await Member.withKey(house, "example")).consent(true);
    const people = await makeCallers(house, callers);
    const stage = new RotationStage(house, people, programs.rotate);
    await stage.with((sealed) =>
      fillCredentials({ ...sealed, house, callers: people, credentials, spreadMs }),
    );
    return stage;
  }

  /** Looks at the database with its keys, beside the gateway. */
  async with<T>(work: (parts: Awaited<ReturnType<RotationStage["open"]>>) => Promise<T>): Promise<T> {
    const parts = await this.open();
    try {
      return await work(parts);
    } finally {
      await parts.close();
    }
  }

  async open() {
    const config = loadConfig({ environment: this.#environment });
    const world = commandWorld("silent");
    const sealed = await openSealedDatabase(config, world);
    return { ...sealed, world, columns: sealedColumns, direct: config.encryptionKeys };
  }

  load(lines: number): Load {
    return new Load(this.house, this.callers, lines);
  }

  /** A rotation in a process of its own; with `die` it is to end by that. */
  async rotate(settleMs: number, die?: RotateStart["die"]) {
    const start: RotateStart = { environment: this.#environment, settleMs, die };
    const child = spawn(process.execPath, [this.#rotate.path, JSON.stringify(start)], {
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: this.#rotate.cache },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return outcomeOf(child);
  }

  /** Values by the state of the key that sealed them; and what does not open. */
  async state() {
    return this.with(async (parts) => {
      const { data } = await overviewOf(parts);
      const of = (state: string) =>
        data.filter((key) => key.state === state).reduce((sum, { values }) => sum + values, 0);
      const { unreadable } = await verifyAll(parts, () => {});
      return { active: of("active"), retired: of("retired"), next: of("next"), unreadable: [...unreadable] };
    });
  }

  /** Of the families whose access the callers use, those that the provider ended: a refresh was lost or done twice. */
  get endedFamilies(): string[] {
    return this.house.provider.families.filter(({ ended }) => ended !== "").map(({ account }) => account);
  }

  /** Tokens that the provider gave for refresh tokens. */
  get refreshes(): number {
    return this.house.provider.families.reduce((sum, { spent }) => sum + spent.size, 0);
  }

  close(): Promise<void> {
    return this.house.close();
  }
}

export interface Outcome {
  /** What it found, when it came to its end. */
  rotated: { activated: boolean; resealed: number; unreadable: number; onlyFinished: boolean } | undefined;
  killed: boolean;
  said: string;
}

async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const [said, wrong] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, "exit")]);
  const killed = child.signalCode === "SIGKILL";
  if (!killed && child.exitCode !== 0) throw new Error(`the rotation ended with ${child.exitCode}: ${wrong}`);
  return { rotated: killed ? undefined : JSON.parse(said), killed, said };
}
