import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Chance } from "../days/chance.ts";
import { SimulatedService } from "../days/service.ts";
import { addUpstream } from "../days/upstream.ts";
import { Management } from "../journeys/steps/management.ts";
import { Administrator } from "../journeys/steps/person.ts";
import { freePort } from "../peers/free-port.ts";
import { marked } from "../support/marked.ts";
import { Balancer } from "./balancer.ts";
import { type CallCount, type Caller, Calls } from "./calls.ts";
import { BeginAgain, consent, renew } from "./consent.ts";
import { Replica } from "./replicas.ts";
import { Visitor } from "./visitor.ts";

export interface ReplicaProofOptions {
  /** An empty Postgres. */
  databaseUrl: string;
  /** It is over when so many were killed and are back. */
  kills: number;
  /** From one kill to the next, at least. */
  killEverySeconds: number;
  callsPerSecond: number;
  persons: number;
  /** One after the other, so many at a time. */
  consentsAtOnce: number;
  /** Milliseconds between two consents of one visitor. */
  consentPauseMs: number;
  /** Seconds that the upstreams' access tokens live. */
  tokenLife: number;
}

export interface ReplicaProofResult extends CallCount {
  kills: number;
  /** How long it went on. */
  seconds: number;
  restartMs: number[];
  consents: number;
  failedConsents: string[];
  /** Steps of consents that were loaded again. */
  reloads: number;
  /** Consents that a client began again, because the one answer with its code or its tokens was lost. */
  begunAgain: number;
  /** At the providers. */
  refreshes: number;
  /** Of clients, at the gateway. */
  renewals: number;
  /** What the gateways logged as errors, without those of calls cut off. */
  errors: string[];
}

const REPLICAS = 3;
const adminToken = marked("the-token-of-the-administrator");

/** Three replicas on one Postgres, one killed again and again, under calls, consents and refreshes. */
export async function runReplicaProof(options: ReplicaProofOptions): Promise<ReplicaProofResult> {
  await using stack = new AsyncDisposableStack();
  const proof = new Proof(options, stack);
  await proof.begin();
  await proof.run();
  return proof.result();
}

class Proof {
  readonly #options: ReplicaProofOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #replicas: Replica[] = [];
  readonly #services: SimulatedService[] = [];
  readonly #callers: Caller[] = [];
  readonly #counts = { kills: 0, consents: 0, reloads: 0, begunAgain: 0, renewals: 0 };
  readonly #failedConsents: string[] = [];
  readonly #errors: string[] = [];
  #origin = "";
  #calls!: Calls;
  #key = "";
  #isOver = false;
  #seconds = 0;

  constructor(options: ReplicaProofOptions, stack: AsyncDisposableStack) {
    this.#options = options;
    this.#stack = stack;
  }

  async begin(): Promise<void> {
    const calm = { lost: 0, failing: 0, early: 0 };
    for (const name of ["docs", "tickets"]) {
      const shape = { name, rotation: "tolerates", life: this.#options.tokenLife } as const;
      const service = await SimulatedService.start(shape, () => Date.now(), new Chance(1), calm);
      this.#services.push(service);
      this.#stack.defer(() => service.close());
    }
    const balancer = this.#stack.use(await Balancer.open());
    this.#origin = `http://127.0.0.1:${balancer.port}`;
    await this.#makeReplicas();
    const [first, ...others] = this.#replicas as [Replica, ...Replica[]];
    await first.start();
    balancer.point(first.port);
    const admin = new Management(this.#origin, adminToken);
    const operator = this.#stack.adopt(new Administrator(), (one) => one.close());
    // Before the others start: each start ends the link of the one before.
    await operator.setUp(/http\S+\/setup\?token=\S+/.exec(first.output)![0]);
    await Promise.all(others.map((one) => one.start()));
    const plenty = { requests: 1_000_000, window_seconds: 60 };
    const limits = { guess: plenty, register: plenty, authorize: plenty, token: plenty, api: plenty };
    await admin.expect(200, "PUT", "/api/config", { limits });
    const ids: string[] = [];
    for (const service of this.#services) ids.push(await addUpstream(admin, operator, service));
    // What was made at the first is known to the others within a second.
    await pause(1_500);
    balancer.point(...this.#replicas.map(({ port }) => port));
    await this.#signIn(admin, ids);
    this.#calls = this.#stack.adopt(new Calls(this.#origin), (calls) => calls.close());
  }

  async run(): Promise<void> {
    const { callsPerSecond, consentsAtOnce } = this.#options;
    const begun = performance.now();
    let turn = 0;
    const calls = this.#calls.run(
      callsPerSecond,
      () => !this.#isOver,
      () => {
        const caller = this.#callers[turn++ % this.#callers.length]!;
        const service = this.#services[Math.floor(turn / this.#callers.length) % this.#services.length]!;
        return { caller, tool: `${service.shape.name}-whoami` };
      },
    );
    const visitors = Array.from({ length: consentsAtOnce }, () => this.#consentAgainAndAgain());
    const killing = this.#killOneAfterTheOther().finally(() => {
      this.#isOver = true;
    });
    await Promise.all([calls, ...visitors, this.#renewAgainAndAgain(), killing]);
    this.#seconds = (performance.now() - begun) / 1000;
  }

  result(): ReplicaProofResult {
    return {
      ...this.#calls.count,
      ...this.#counts,
      seconds: this.#seconds,
      failedConsents: this.#failedConsents,
      restartMs: this.#replicas.flatMap(({ restarts }) => restarts.slice(1)),
      refreshes: this.#services.reduce((sum, { tally }) => sum + tally.refreshes, 0),
      errors: this.#errors,
    };
  }

  async #makeReplicas(): Promise<void> {
    const environment = {
      POSTERN_BASE_URL: this.#origin,
      POSTERN_DATABASE_URL: this.#options.databaseUrl,
      POSTERN_ENCRYPTION_KEY: randomBytes(32).toString("base64"),
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_OUTBOUND_ALLOW: this.#services.map(({ host }) => host).join(","),
      POSTERN_LOG_LEVEL: "error",
    };
    for (let n = 0; n < REPLICAS; n++) {
      const replica = new Replica(await freePort(), environment);
      this.#replicas.push(replica);
      this.#stack.defer(() => replica.kill());
    }
  }

  /** Everybody who calls; and a key for those who only consent, again and again. */
  async #signIn(admin: Management, ids: string[]): Promise<void> {
    for (let n = 0; n < this.#options.persons; n++) {
      const name = `person-${n}`;
      const key = await admin.createKey(name, ids);
      for (const service of this.#services) service.account = name;
      const visitor = new Visitor();
      this.#callers.push({ name, tokens: await consent(this.#origin, key.value, visitor) });
      await visitor.close();
    }
    this.#key = (await admin.createKey("visitors", ids)).value;
    for (const service of this.#services) service.account = "visitors";
  }

  async #killOneAfterTheOther(): Promise<void> {
    const half = (this.#options.killEverySeconds * 1000) / 2;
    for (let n = 0; n < this.#options.kills; n++) {
      await pause(half);
      const replica = this.#replicas[n % this.#replicas.length]!;
      await replica.kill();
      this.#counts.kills++;
      await Promise.all([replica.start(), pause(half)]);
    }
    await pause(half);
  }

  async #consentAgainAndAgain(): Promise<void> {
    while (!this.#isOver) {
      await this.#consent();
      await pause(this.#options.consentPauseMs);
    }
  }

  /** A person whose client could not finish lets it begin again, once. */
  async #consent(): Promise<void> {
    this.#counts.consents++;
    const visitor = new Visitor();
    try {
      await consent(this.#origin, this.#key, visitor).catch((error: unknown) => {
        if (!(error instanceof BeginAgain)) throw error;
        this.#counts.begunAgain++;
        return consent(this.#origin, this.#key, visitor);
      });
    } catch (error) {
      this.#failedConsents.push(String(error));
    }
    this.#counts.reloads += visitor.reloads;
    await visitor.close();
  }

  /** Clients renew their tokens of the gateway all the time, one after the other. */
  async #renewAgainAndAgain(): Promise<void> {
    for (let n = 0; !this.#isOver; n++) {
      const caller = this.#callers[n % this.#callers.length]!;
      try {
        caller.tokens = await renew(this.#origin, caller.tokens);
        this.#counts.renewals++;
      } catch (error) {
        this.#errors.push(`${caller.name}: ${error}`);
      }
      await pause(100);
    }
  }
}
