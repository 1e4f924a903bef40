import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** A TCP load balancer without any cleverness: each connection goes to the next target that takes it. */
export class Balancer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #targets: number[] = [];
  #next = 0;

  private constructor() {
    this.#server = createServer((client) => this.#accept(client, this.#targets.length));
  }

  static async open(): Promise<Balancer> {
    const balancer = new Balancer();
    balancer.#server.listen(0, "127.0.0.1");
    await once(balancer.#server, "listening");
    return balancer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Where new connections go from now on: ports of 127.0.0.1. Those that stand stay. */
  point(...ports: number[]): void {
    this.#targets = ports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(client: Socket, tries: number): void {
    client.on("error", () => {});
    if (tries === 0) return void client.destroy();
    this.#next = (this.#next + 1) % this.#targets.length;
    const target = connect(this.#targets[this.#next]!, "127.0.0.1");
    for (const socket of [client, target]) {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    }
    let isConnected = false;
    target.once("connect", () => {
      isConnected = true;
      client.pipe(target).pipe(client);
    });
    target.on("error", () => {
      if (isConnected) client.destroy();
      else this.#accept(client, tries - 1);
    });
    client.once("close", () => target.destroy());
    target.once("close", () => {
      if (isConnected) client.destroy();
    });
  }
}
