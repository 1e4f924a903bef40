import { setTimeout } from "node:timers/promises";
import { Hidden, type Seal } from "../../src/base/index.ts";
import type { Database, NewRow } from "../../src/db/index.ts";
import { openSecret, type Secret, sealSecret } from "../../src/vault/secret.ts";
import type { House } from "../crash/house.ts";
import { Member } from "../crash/member.ts";

/** Somebody whose credential is used meanwhile. */
export interface Caller {
  name: string;
  key: string;
  keyId: string;
}

/** What came of the calls. */
export interface Calls {
  made: number;
  failed: string[];
  /** Milliseconds, sorted. */
  took: number[];
}

const DAY_MS = 86_400_000;
const OF_ONE_STATEMENT = 500;

/** People with a virtual key each, whose credentials are still to be made. */
export async function makeCallers(house: House, count: number): Promise<Caller[]> {
  const callers: Caller[] = [];
  for (let i = 0; i < count; i++) {
    const { virtual_key: key } = await house.admin("POST", "/api/governance/virtual-keys", {
      name: `caller ${i}`,
    });
    callers.push({ name: `caller ${i}`, key: key.value, keyId: key.id });
  }
  return callers;
}

export interface Fill {
  database: Database;
  seal: Seal;
  house: House;
  callers: readonly Caller[];
  /** Credentials in all; those of nobody who calls fill the table. */
  credentials: number;
  /** Access tokens of callers end within this time from now, spread over it, so that refreshes go on all the time. */
  spreadMs: number;
}

/** Credentials as the gateway itself stores them, by the example of one that it did store. */
export async function fillCredentials({
  database,
  seal,
  house,
  callers,
  credentials,
  spreadMs,
}: Fill): Promise<void> {
  const example = await database.db
    .selectFrom("credentials")
    .selectAll()
    .where("upstream_id", "=", house.oauthUpstream)
    .where("owner_mode", "=", "vk")
    .executeTakeFirstOrThrow();
  const owner = { mode: example.owner_mode, id: example.owner_id };
  const place = { id: example.id, owner, upstreamId: example.upstream_id };
  const secret = openSecret(seal, place, example.sealed) as Secret & { kind: "oauth" };
  const now = Date.now();
  const rowOf = (index: number): NewRow<"credentials"> => {
    const caller = callers[index];
    const [access, refresh] = [`access-${index}-${"x".repeat(200)}`, `refresh-${index}-${"x".repeat(100)}`];
    const ends = caller ? now + 1_000 + (spreadMs * index) / callers.length : now + DAY_MS;
    if (caller)
      house.provider.families.push({
        account: caller.name,
        refresh,
        spent: new Set(),
        access: new Map([[access, ends]]),
        ended: "",
      });
    const id = `cred_proof_${String(index).padStart(7, "0")}`;
    const ownerId = caller?.keyId ?? `vk_nobody_${index}`;
    const fresh = {
      ...secret,
      accessToken: new Hidden(access),
      refreshToken: new Hidden(refresh),
      issuedAt: now,
    };
    const at = { id, owner: { mode: "vk" as const, id: ownerId }, upstreamId: example.upstream_id };
    return { ...example, id, owner_id: ownerId, sealed: sealSecret(seal, at, fresh), expires_at: ends };
  };
  for (let from = 0; from < credentials; from += OF_ONE_STATEMENT) {
    const count = Math.min(OF_ONE_STATEMENT, credentials - from);
    const rows = Array.from({ length: count }, (_, offset) => rowOf(from + offset));
    await database.db.insertInto("credentials").values(rows).execute();
  }
}

/** Calls until told to stop: each caller in turn, so that warm, cold and ending credentials mix. */
export class Load {
  readonly calls: Calls = { made: 0, failed: [], took: [] };
  readonly #house: House;
  readonly #callers: readonly Caller[];
  readonly #running: Promise<void>[];
  #next = 0;
  #stopped = false;

  constructor(house: House, callers: readonly Caller[], lines: number) {
    this.#house = house;
    this.#callers = callers;
    this.#running = Array.from({ length: lines }, () => this.#line());
  }

  async stop(): Promise<Calls> {
    this.#stopped = true;
    await Promise.all(this.#running);
    this.calls.took.sort((a, b) => a - b);
    return this.calls;
  }

  async #line(): Promise<void> {
    const member = new Member(this.#house, "load");
    while (!this.#stopped) {
      const caller = this.#callers[this.#next++ % this.#callers.length]!;
      const started = performance.now();
      const fault = await faultOf(member, caller);
      this.calls.made += 1;
      this.calls.took.push(performance.now() - started);
      if (fault !== undefined) this.calls.failed.push(fault);
      // The machine has two cores, and the rotation is to have some of it.
      await setTimeout(2);
    }
    await member.web.close();
  }
}

async function faultOf(member: Member, { key, name }: Caller): Promise<string | undefined> {
  try {
    const called = await member.call({ access: key, refresh: "" });
    return "text" in called && called.text === name ? undefined : `${name}: ${JSON.stringify(called)}`;
  } catch (error) {
    return `${name}: ${(error as Error).message}`;
  }
}

/** Milliseconds that this share of the calls stayed below. */
export function quantile({ took }: Calls, share: number): number {
  return took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0;
}
