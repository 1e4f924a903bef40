// Loaded before the official server-everything, which is started unchanged: puts it on 127.0.0.1 instead of every
// interface, tells the port it got, and ends it with the process that started it.
import { type AddressInfo, Server } from "node:net";

const listen = Server.prototype.listen as (...args: unknown[]) => Server;

Server.prototype.listen = function (this: Server, port: unknown, ...rest: unknown[]): Server {
  this.once("listening", () => process.send?.({ port: (this.address() as AddressInfo).port }));
  return typeof rest[0] === "string"
    ? listen.call(this, port, ...rest)
    : listen.call(this, Number(port), "127.0.0.1", ...rest);
} as typeof Server.prototype.listen;

process.on("disconnect", () => process.exit(0));
