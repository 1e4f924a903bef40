import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe } from "vitest";
import type { AuthorizationServerOptions } from "../../peers/identity-provider.ts";
import { migratedPostgresDatabase } from "../../postgres/database.ts";
import { adminToken, type GatewayOptions, startGateway } from "../../support/gateway.ts";
import type { RunningGateway } from "./gateway.ts";
import { addProtected } from "./main-job.ts";
import { Management } from "./management.ts";
import { type ClientOptions, openClient, type SignedIn, signIn } from "./mcp-client.ts";
import { type ProtectedUpstream, startProtectedUpstream } from "./peers.ts";
import { Administrator, type Approver, Person } from "./person.ts";

export type DatabaseKind = "sqlite" | "postgres";

/** A gateway inside the test's own process, on a real port. */
export interface TestGateway extends RunningGateway {
  /** With what it was started; `open` starts it again on the same database and port. */
  options: GatewayOptions;
  /** Everything that happens by itself now and then, once, now. */
  runJobs(): Promise<void>;
  /** Stops as on SIGTERM. */
  close(): Promise<void>;
}

/** A gateway with the protected upstream, and a person who holds a key for it. */
export interface Household {
  gateway: TestGateway;
  admin: Management;
  guarded: ProtectedUpstream;
  upstreamId: string;
  key: { id: string; value: string };
  person: Person;
  /** Signed in. */
  operator: Administrator;
}

/** Starts what a journey needs on one of the databases, and ends it after the test. */
export class Stage {
  readonly kind: DatabaseKind;
  readonly #closing: (() => Promise<unknown>)[] = [];
  /** Added to the clock of every gateway here, in milliseconds. */
  #later = 0;

  constructor(kind: DatabaseKind) {
    this.kind = kind;
  }

  keep<T extends { close(): Promise<unknown> }>(one: T): T {
    this.#closing.push(() => one.close());
    return one;
  }

  /** Moves the gateways' clock forward; peers keep the real time. */
  advance(ms: number): void {
    this.#later += ms;
  }

  /** The gateways' time. */
  now(): Date {
    return new Date(Date.now() + this.#later);
  }

  /** On an empty database of its own, reaching `allow` and nothing else. */
  async gateway(allow: string[], configure?: GatewayOptions["configure"]): Promise<TestGateway> {
    return this.open({ databaseUrl: await this.#database(), outboundAllow: allow, configure });
  }

  /** Another replica of a gateway that runs: the same public address, reached at one of its own. */
  replica(of: TestGateway): Promise<TestGateway> {
    return this.open({
      ...of.options,
      port: undefined,
      configure: ({ settings, port }) => {
        settings.baseUrl = new URL(of.baseUrl);
        settings.aliases = [`http://127.0.0.1:${port}`];
      },
    });
  }

  /** Started with exactly these options. */
  async open(options: GatewayOptions): Promise<TestGateway> {
    const now = () => this.now();
    const { url, gateway, encryptionKey, stop } = await startGateway({ ...options, now });
    gateway.startJobs();
    let closing: Promise<void> | undefined;
    const close = () => {
      closing ??= stop();
      return closing;
    };
    return this.keep({
      baseUrl: url,
      setupLink: (await gateway.setupLink()) ?? "",
      adminToken,
      runJobs: () => gateway.runJobs(),
      options: { ...options, encryptionKey, port: Number(new URL(url).port) },
      close,
    });
  }

  /** The usual beginning: an administrator, the protected upstream with its tools known, a key and its holder. */
  async household(options: AuthorizationServerOptions = {}): Promise<Household> {
    const guarded = this.keep(await startProtectedUpstream(options));
    const gateway = await this.gateway(guarded.allow);
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const operator = this.keep(new Administrator());
    await operator.setUp(gateway.setupLink);
    const upstreamId = await addProtected(admin, operator, guarded);
    const key = await admin.createKey("Alice", [upstreamId]);
    return { gateway, admin, guarded, upstreamId, key, operator, person: this.person(key.value) };
  }

  person(key: string): Person {
    return this.keep(new Person(key));
  }

  async signIn(at: { baseUrl: string }, person: Approver, options?: ClientOptions): Promise<SignedIn> {
    const signedIn = await signIn(at.baseUrl, person, options);
    this.keep(signedIn.client);
    return signedIn;
  }

  async client(at: { baseUrl: string }, { oauth }: Pick<SignedIn, "oauth">, options?: ClientOptions) {
    return this.keep(await openClient(at.baseUrl, oauth, options));
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
  }

  async #database(): Promise<string> {
    if (this.kind === "postgres") {
      const { url, drop } = await migratedPostgresDatabase();
      this.#closing.push(drop);
      return url;
    }
    const folder = await mkdtemp(join(tmpdir(), "postern-journey-"));
    this.#closing.push(() => rm(folder, { recursive: true, force: true }));
    return `sqlite:${join(folder, "postern.db")}`;
  }
}

/** The same journeys on SQLite and on Postgres, or only on one of them. */
export function journeys(
  name: string,
  suite: (stage: Stage) => void,
  kinds: readonly DatabaseKind[] = ["sqlite", "postgres"],
): void {
  describe.each(kinds)(`${name} on %s`, (kind) => {
    const stage = new Stage(kind);
    afterEach(() => stage.close());
    suite(stage);
  });
}
