import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTcpServer, type Socket } from "node:net";
import { afterEach, expect, vi } from "vitest";
import { openOutbound } from "./guarded.ts";
import type { ResolvedAddress } from "./guarded-connect.ts";
import { OutboundError } from "./outbound-error.ts";

export const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of closing.splice(0).reverse()) await close();
});

export async function listen(
  server: Server | ReturnType<typeof createTcpServer>,
  host = "127.0.0.1",
): Promise<number> {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, host, resolve));
  closing.push(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as { port: number }).port;
}

export const serve = (listener: RequestListener) => listen(createServer(listener));

/** Speaks bytes instead of HTTP; `answer` is called at the first data of each connection. */
export const speak = (answer: (socket: Socket) => void) =>
  listen(createTcpServer((socket) => socket.once("data", () => answer(socket))));

/** A server nobody may reach. */
export async function canary(host = "127.0.0.1"): Promise<{ port: number; connections: () => number }> {
  let connections = 0;
  const port = await listen(
    createTcpServer((socket) => {
      connections++;
      socket.destroy();
    }),
    host,
  );
  return { port, connections: () => connections };
}

export function open(
  allow: { admin?: string[]; stranger?: string[] },
  resolve?: (name: string) => Promise<ResolvedAddress[]>,
) {
  const outbound = openOutbound({
    allow: { admin: allow.admin ?? [], stranger: allow.stranger ?? [] },
    connectTimeoutMs: 1_000,
    ...(resolve && { resolve }),
  });
  closing.push(() => outbound.close());
  return outbound;
}

export async function failure(promise: Promise<unknown>): Promise<OutboundError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(OutboundError);
  expect(String((error as Error).message)).not.toMatch(/\d/);
  return error as OutboundError;
}

export const admin = { policy: "admin" } as const;

export const names: Record<string, string[]> = {
  "loopback.test": ["127.0.0.1"],
  "loopback-v6.test": ["::1"],
  "ten.test": ["10.0.0.1"],
  "b.test": ["172.16.0.1"],
  "c.test": ["192.168.1.1"],
  "shared.test": ["100.64.0.1"],
  "metadata.test": ["169.254.169.254"],
  "metadata-v6.test": ["fd00:ec2::254"],
  "link-local.test": ["fe80::1"],
  "zone.test": ["fe80::1%lo"],
  "mapped.test": ["::ffff:127.0.0.1"],
  "nat64.test": ["64:ff9b::7f00:1"],
  "six-to-four.test": ["2002:7f00:1::"],
  "zero.test": ["0.0.0.0"],
  "mixed.test": ["1.1.1.1", "127.0.0.1"],
  "mixed-first.test": ["127.0.0.1", "1.1.1.1"],
  "mixed-v6.test": ["2606:4700:4700::1111", "::1"],
  "garbage.test": ["1.1.1.1", "127.1"],
  "localhost.": ["127.0.0.1"],
  localhost: ["127.0.0.1", "::1"],
  "localhost.localdomain": ["127.0.0.1"],
  "127.0.0.1.nip.test": ["127.0.0.1"],
};

export const resolveTestNames = async (name: string): Promise<ResolvedAddress[]> =>
  (names[name] ?? []).map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
