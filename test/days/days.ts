import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Management } from "../journeys/steps/management.ts";
import { Administrator } from "../journeys/steps/person.ts";
import { adminToken, type RunningGateway, startGateway } from "../support/gateway.ts";
import { Chance } from "./chance.ts";
import { DaysClient } from "./client.ts";
import { type Shape, SimulatedService, type Tally, type Weather } from "./service.ts";
import { addUpstream } from "./upstream.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A Monday, eight in the morning. */
const BEGIN = Date.UTC(2026, 10, 2, 8);

export interface DaysOptions {
  seed: number;
  days: number;
  persons: number;
  shapes: readonly Shape[];
  weather: Weather;
  /** Visits of a person to one service on a working day; each is a few calls, minutes apart. */
  visitsADay: number;
  restarts: number;
  /** Share of the gateway's own answers to a client's refresh that the client never sees. */
  lostByClients: number;
  /** Where the gateways keep their data: a folder that is made and removed, or a Postgres. */
  databaseUrl?: string;
}

/** What people were asked, less what had to be asked of them: nothing but zeros where nobody was asked without need. */
export type Needless = Record<string, number>;

export interface DaysResult {
  calls: number;
  /** Answers "not now", after which a client tried again. */
  postponed: number;
  restarts: number;
  dropped: number;
  /** How often a person had to consent again at a service. */
  prompts: Record<string, number>;
  /** What each service knows of it, by its name. */
  tallies: Record<string, Tally>;
  /** How often a client's person had to sign in to the gateway again. */
  gatewaySignIns: number;
  gatewayRefreshes: number;
  gatewayLostAnswers: number;
  needless: Needless;
}

/** One person's visit to one service at one moment. */
interface Visit {
  at: number;
  client: DaysClient;
  service: SimulatedService;
}

/**
 * Lets a gateway live through days: people call by day and by night and not on weekends, providers lose answers and fail,
 * upstreams refuse tokens early, clocks jump by a minute, and the gateway ends and starts again, with and without notice.
 */
export async function liveThrough(options: DaysOptions): Promise<DaysResult> {
  const folder =
    options.databaseUrl === undefined ? await mkdtemp(join(tmpdir(), "postern-days-")) : undefined;
  const days = new Days(options, options.databaseUrl ?? `sqlite:${join(folder!, "postern.db")}`);
  try {
    await days.begin();
    await days.live();
    return days.result();
  } finally {
    await days.close();
    if (folder) await rm(folder, { recursive: true, force: true });
  }
}

class Days {
  readonly #options: DaysOptions;
  readonly #chance: Chance;
  readonly #databaseUrl: string;
  readonly #services: SimulatedService[] = [];
  readonly #clients: DaysClient[] = [];
  readonly #dropped: RunningGateway[] = [];
  readonly #counts = { calls: 0, postponed: 0, restarts: 0, dropped: 0 };
  readonly #prompts: Record<string, number> = {};
  #gateway!: RunningGateway;
  #now = BEGIN;
  /** How far the gateway's clock is off. */
  #skew = 0;

  constructor(options: DaysOptions, databaseUrl: string) {
    this.#options = options;
    this.#databaseUrl = databaseUrl;
    this.#chance = new Chance(options.seed);
  }

  /** Everything is set up, and everybody has signed in once. */
  async begin(): Promise<void> {
    const { shapes, seed, weather, persons } = this.#options;
    const fair = { lost: 0, failing: 0, early: 0 };
    const conditions = { ...fair };
    for (const [index, shape] of shapes.entries()) {
      const chance = new Chance(seed * 31 + index);
      this.#services.push(await SimulatedService.start(shape, () => this.#now, chance, conditions));
    }
    this.#gateway = await this.#open();
    const admin = new Management(this.#gateway.url, adminToken);
    const operator = new Administrator();
    await operator.setUp((await this.#gateway.gateway.setupLink())!);
    const ids: string[] = [];
    for (const service of this.#services) ids.push(await addUpstream(admin, operator, service));
    await operator.close();
    for (let n = 0; n < persons; n++) {
      const { value } = await admin.createKey(`person-${n}`, ids);
      const client = new DaysClient(this.#gateway.url, `person-${n}`, value);
      this.#clients.push(client);
      for (const service of this.#services) service.account = client.name;
      await client.signIn(ids.length);
      // One address may not guess at keys without end.
      this.#now += 5 * MINUTE;
    }
    Object.assign(conditions, weather);
  }

  async live(): Promise<void> {
    const visits = this.#visits();
    const end = BEGIN + this.#options.days * DAY;
    const restarts = Array.from({ length: this.#options.restarts }, () =>
      this.#chance.between(this.#now, end),
    );
    restarts.sort((a, b) => a - b);
    let jobsAt = this.#now;
    for (const visit of visits) {
      this.#now = Math.max(this.#now, visit.at);
      while (restarts.length > 0 && restarts[0]! <= this.#now) {
        restarts.shift();
        await this.#restart();
      }
      if (this.#chance.hits(0.05)) this.#skew = this.#chance.one([-MINUTE, 0, MINUTE]);
      if (this.#now >= jobsAt) {
        await this.#gateway.gateway.runJobs();
        jobsAt = this.#now + 6 * HOUR;
      }
      await this.#visit(visit);
    }
    // What was lost at last is found out here.
    this.#now += DAY;
    for (const client of this.#clients)
      for (const service of this.#services) await this.#call(client, service);
  }

  result(): DaysResult {
    const sum = (count: (client: DaysClient) => number) =>
      this.#clients.reduce((all, one) => all + count(one), 0);
    return {
      ...this.#counts,
      needless: this.#needless(),
      prompts: this.#prompts,
      tallies: Object.fromEntries(this.#services.map(({ shape, tally }) => [shape.name, tally])),
      gatewaySignIns: sum(({ signIns }) => signIns),
      gatewayRefreshes: sum(({ refreshes }) => refreshes),
      gatewayLostAnswers: sum(({ lostAnswers }) => lostAnswers),
    };
  }

  /** By person and service, so that one too many here does not make up for one too few there. */
  #needless(): Needless {
    const surplus: Needless = {};
    for (const { name, signIns } of this.#clients) {
      surplus[`${name} at the gateway`] = signIns - 1;
      for (const { shape, tally } of this.#services)
        surplus[`${name} at ${shape.name}`] =
          (this.#prompts[`${name} at ${shape.name}`] ?? 0) - (tally.lostForGood[name] ?? 0);
    }
    return surplus;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.#gateway?.stop();
    for (const gateway of this.#dropped) await gateway.stop();
    for (const service of this.#services) await service.close();
  }

  #open(): Promise<RunningGateway> {
    return startGateway({
      databaseUrl: this.#databaseUrl,
      outboundAllow: this.#services.map(({ host }) => host),
      now: () => new Date(this.#now + this.#skew),
      ...(this.#gateway && {
        encryptionKey: this.#gateway.encryptionKey,
        port: Number(new URL(this.#gateway.url).port),
      }),
    });
  }

  /** Every other time it dies: what it had only in memory is gone. */
  async #restart(): Promise<void> {
    const isDrop = this.#counts.restarts++ % 2 === 1;
    if (isDrop) {
      this.#counts.dropped++;
      await this.#gateway.drop();
      this.#dropped.push(this.#gateway);
    } else await this.#gateway.stop();
    this.#gateway = await this.#open();
  }

  /** In order of time. */
  #visits(): Visit[] {
    const { days, visitsADay } = this.#options;
    const visits: Visit[] = [];
    for (let day = 0; day < days; day++) {
      const midnight = BEGIN - 8 * HOUR + day * DAY;
      const isWeekend = [0, 6].includes(new Date(midnight).getUTCDay());
      for (const [index, client] of this.#clients.entries()) {
        for (const service of this.#services) {
          // Something of its own accord at night; what rests is called every eleventh day only.
          const isRare = service.shape.restDays !== undefined;
          const hours = index % 3 === 2 ? [0, 24] : [8, 19];
          const times = isRare ? (day % 11 === index % 11 ? 1 : 0) : isWeekend ? 0 : visitsADay;
          for (let n = 0; n < times; n++) {
            const at = midnight + this.#chance.between(hours[0]!, hours[1]!) * HOUR;
            if (at > this.#now) visits.push({ at, client, service });
          }
        }
      }
    }
    return visits.sort((a, b) => a.at - b.at);
  }

  async #visit({ client, service }: Visit): Promise<void> {
    const calls = this.#chance.one([1, 2, 3]);
    for (let n = 0; n < calls; n++) {
      await this.#call(client, service);
      this.#now += this.#chance.between(20 * SECOND, 3 * MINUTE);
    }
  }

  /** A call until it is answered, as a client makes it that tries again after a pause. */
  async #call(client: DaysClient, service: SimulatedService): Promise<void> {
    const { name } = service.shape;
    for (let attempt = 0; attempt < 12; attempt++) {
      this.#counts.calls++;
      const outcome = await client.call(`${name}-whoami`, this.#chance.hits(this.#options.lostByClients));
      if (outcome.is === "answered") {
        if (outcome.text !== client.name) throw new Error(`${client.name} was answered as ${outcome.text}`);
        return;
      }
      if (outcome.is === "asked") {
        const whose = `${client.name} at ${name}`;
        this.#prompts[whose] = (this.#prompts[whose] ?? 0) + 1;
        service.account = client.name;
        await client.connect(outcome.link);
      } else {
        this.#counts.postponed++;
        this.#now += 15 * SECOND;
      }
    }
    throw new Error(`${client.name} never got an answer of ${name}`);
  }
}
