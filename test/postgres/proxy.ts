import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

type Mode = "open" | "refusing" | "silent";
type AtCommit = "lose_answer" | "lose_commit";

/** A TCP proxy in front of a Postgres, for what a network and a failover do to a gateway. On 127.0.0.1. */
export class PostgresProxy implements AsyncDisposable {
  readonly #target: URL;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #mode: Mode = "open";
  #atCommit: { what: AtCommit; mode: Mode } | undefined;
  /** Whether the answer to every commit is lost, and to how many it was. */
  losesAnswers = false;
  lostAnswers = 0;
  /** How many connections were asked for while it refused. */
  refused = 0;

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async before(databaseUrl: string): Promise<PostgresProxy> {
    const proxy = new PostgresProxy(new URL(databaseUrl));
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** The same database, through the proxy. */
  get url(): string {
    const url = new URL(this.#target);
    url.hostname = "127.0.0.1";
    url.port = String((this.#server.address() as AddressInfo).port);
    return url.href;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Every connection breaks. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  /** Every connection breaks and no new one comes about, until `restore`. */
  refuse(): void {
    this.#mode = "refusing";
    this.cut();
  }

  /** Everything stands and nothing passes, until `restore`; then what was connected breaks. */
  silence(): void {
    this.#mode = "silent";
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  restore(): void {
    if (this.#mode === "silent") this.cut();
    this.#mode = "open";
  }

  /** At the next commit: either it arrives and its answer is lost, or it is lost itself. The connection breaks, and the proxy is `mode` from then on. */
  atNextCommit(what: AtCommit, mode: Mode = "open"): void {
    this.#atCommit = { what, mode };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #accept(client: Socket): void {
    client.on("error", () => {});
    if (this.#mode === "refusing") {
      this.refused += 1;
      client.resetAndDestroy();
      return;
    }
    const server = connect(Number(this.#target.port), this.#target.hostname);
    server.on("error", () => {});
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      this.#pairs.delete(pair);
    };
    client.on("close", end);
    server.on("close", end);
    client.on("data", (bytes) => this.#fromClient(pair, bytes));
    server.on("data", (bytes) => client.write(bytes));
    if (this.#mode === "silent") for (const socket of pair) socket.pause();
  }

  #fromClient(pair: readonly [Socket, Socket], bytes: Buffer): void {
    const [client, server] = pair;
    const atEvery = this.losesAnswers ? ({ what: "lose_answer", mode: this.#mode } as const) : undefined;
    const ordered = atEvery ?? this.#atCommit;
    if (ordered && bytes.includes("commit\0")) {
      this.#atCommit = undefined;
      this.#mode = ordered.mode;
      if (ordered.what === "lose_commit") return void client.resetAndDestroy();
      this.lostAnswers += 1;
      // Its answer is the next thing that comes.
      server.removeAllListeners("data");
      server.once("data", () => client.resetAndDestroy());
    }
    server.write(bytes);
  }
}
