import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerOptions } from "node:https";
import type { TLSSocket } from "node:tls";
import { Agent } from "undici";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Authority, certificateAuthority } from "../../test/peers/certificates.ts";
import { type LoopbackServer, startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { openOutbound } from "./guarded.ts";
import { TlsAgents } from "./guarded-tls.ts";
import { Hidden } from "./hidden.ts";
import type { Outbound } from "./outbound.ts";
import { OutboundError } from "./outbound-error.ts";
import { sameTls, Tls, type TlsSettings } from "./tls.ts";

let ca: Authority;
const closing: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  ca = certificateAuthority();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of closing.splice(0).reverse()) await close();
});

/** Says which connection it was and whose certificate it saw. */
function tellConnection(request: IncomingMessage, response: ServerResponse): void {
  const socket = request.socket as TLSSocket;
  response.end(`${socket.remotePort} ${String(socket.getPeerCertificate().subject?.CN)}`);
}

async function serve(options: ServerOptions = {}, listener = tellConnection): Promise<LoopbackServer> {
  const tls = { ...ca.issue(["127.0.0.1"]), ...options };
  const server = await startLoopbackServer(listener, 0, tls);
  closing.push(() => server.close());
  return server;
}

function open(...servers: LoopbackServer[]): Outbound {
  const admin = servers.map(({ port }) => `127.0.0.1:${port}`);
  const outbound = openOutbound({ allow: { admin, stranger: [] }, connectTimeoutMs: 2_000 });
  closing.push(() => outbound.close());
  return outbound;
}

/** What the server said, or why there was no answer; the hot path and the other one must agree. */
async function say(outbound: Outbound, server: { origin: string }, settings?: TlsSettings): Promise<string> {
  const url = new URL(`${server.origin}/`);
  const tls = settings && new Tls(url, settings);
  const reasonOf = (error: unknown) => {
    if (error instanceof OutboundError) return error.reason;
    throw error;
  };
  const hot = await outbound
    .request(url, { method: "GET", headers: {}, tls })
    .then(({ body }) => body.bytes(1_000))
    .then((bytes) => Buffer.from(bytes).toString())
    .catch(reasonOf);
  const whole = await outbound
    .fetch(url, { policy: "admin", tls })
    .then((response) => response.text())
    .catch(reasonOf);
  expect(whole.split(" ")[1]).toBe(hot.split(" ")[1]);
  return hot;
}

test("a server of a private authority answers who trusts that authority, and nobody else", async () => {
  const server = await serve();
  const outbound = open(server);
  expect(await say(outbound, server)).toBe("tls");
  expect(await say(outbound, server, { caCertPem: ca.cert })).toMatch(/^\d+ undefined$/);
  expect(await say(outbound, server, { caCertPem: certificateAuthority().cert })).toBe("tls");
  expect(await say(outbound, server, { caCertPem: certificateAuthority().cert + ca.cert })).toMatch(/^\d+ /);
  expect(await say(outbound, server)).toBe("tls");
});

test.each<[string, (server: LoopbackServer) => Promise<[LoopbackServer, TlsSettings]>]>([
  [
    "an expired authority",
    async () => {
      const old = certificateAuthority("Old CA", { notAfter: new Date("2001-01-01T00:00:00Z") });
      return [await serve(old.issue(["127.0.0.1"])), { caCertPem: old.cert }];
    },
  ],
  [
    "an expired certificate",
    async () => [
      await serve(ca.issue(["127.0.0.1"], { notAfter: new Date("2001-01-01T00:00:00Z") })),
      { caCertPem: ca.cert },
    ],
  ],
  [
    "a certificate for another name",
    async () => [await serve(ca.issue(["other.test"])), { caCertPem: ca.cert }],
  ],
  ["another server_name", async (server) => [server, { caCertPem: ca.cert, serverName: "other.test" }]],
])("UP-15 %s is a TLS failure that says nothing of the certificate", async (_name, arrange) => {
  const [server, settings] = await arrange(await serve());
  const outbound = open(server);
  expect(await say(outbound, server, settings)).toBe("tls");
  const url = new URL(server.origin);
  const error = await outbound
    .fetch(url, { policy: "admin", tls: new Tls(url, settings) })
    .catch((thrown) => thrown);
  expect(error.message).toBe("No trusted TLS connection could be made to the server.");
  expect(error.cause).toBeUndefined();
});

test("server_name is asked for and checked in place of the host", async () => {
  const names: unknown[] = [];
  const server = await serve(ca.issue(["inside.test"]), (request, response) => {
    names.push((request.socket as TLSSocket & { servername?: string }).servername);
    tellConnection(request, response);
  });
  const outbound = open(server);
  expect(await say(outbound, server, { caCertPem: ca.cert, serverName: "inside.test" })).toMatch(/^\d+ /);
  expect(names[0]).toBe("inside.test");
});

test.each(["TLSv1.2", "TLSv1.3"] as const)(
  "a server that wants a client certificate gets it, %s",
  async (version) => {
    const server = await serve({
      requestCert: true,
      rejectUnauthorized: true,
      ca: ca.cert,
      minVersion: version,
      maxVersion: version,
    });
    const outbound = open(server);
    const [own, foreign] = [ca.issue(["gateway"]), certificateAuthority().issue(["gateway"])];
    const shown = ({ cert, key }: typeof own): TlsSettings => ({
      caCertPem: ca.cert,
      clientCertPem: cert,
      clientKeyPem: new Hidden(key),
    });
    expect(await say(outbound, server, shown(own))).toMatch(/^\d+ gateway$/);
    // RFC 8446 §4.4.2.4: the server may say so by an alert, or only hang up.
    for (const settings of [{ caCertPem: ca.cert }, shown(foreign)])
      expect(["tls", "unreachable"]).toContain(await say(outbound, server, settings));
  },
);

test("UP-14 a configuration is for its own origin, on the next hop too", async () => {
  const there = await serve({ requestCert: true, rejectUnauthorized: false });
  const here = await serve({}, (_request, response) => {
    response.writeHead(302, { location: `${there.origin}/` }).end();
  });
  const outbound = open(here, there);
  const settings = { caCertPem: ca.cert };
  const tls = new Tls(new URL(here.origin), settings);
  const init = { policy: "admin", tls } as const;
  expect((await outbound.fetch(here.origin, init)).status).toBe(302);
  for (const request of [
    () => outbound.fetch(here.origin, { ...init, redirects: 1 }),
    () => outbound.fetch(there.origin, init),
    () => outbound.request(new URL(there.origin), { method: "GET", headers: {}, tls }),
  ]) {
    await expect(request()).rejects.toMatchObject({ reason: "tls" });
  }
  expect(await say(outbound, there, settings)).toMatch(/^\d+ /);
});

test("a certificate stays unchecked only where the operator named host and port, whatever was stored", async () => {
  const server = await serve(certificateAuthority().issue(["other.test"]));
  const other = await serve();
  const settings = { insecureSkipVerify: true };
  expect(await say(open(server), server, settings)).toMatch(/^\d+ /);
  expect(await say(open(server), server)).toBe("tls");
  expect(await say(open(other), server, settings)).toBe("refused");
  vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
  expect(await say(open(server), server, { insecureSkipVerify: false })).toBe("tls");
});

test("connections are kept for one configuration and never serve another", async () => {
  const server = await serve();
  const outbound = open(server);
  const url = new URL(server.origin);
  const port = async (tls: Tls) => {
    const response = await outbound.fetch(url, { policy: "admin", tls });
    return (await response.text()).split(" ")[0];
  };
  const settings = { caCertPem: ca.cert };
  const [first, equal] = [new Tls(url, settings), new Tls(url, settings)];
  const client = ca.issue(["gateway"]);
  const other = new Tls(url, {
    ...settings,
    clientCertPem: client.cert,
    clientKeyPem: new Hidden(client.key),
  });
  const kept = new Set<string | undefined>();
  for (const tls of [first, equal, first, equal]) kept.add(await port(tls));
  // The next call may start in the moment before the last connection is free again.
  expect(kept.size).toBeLessThanOrEqual(2);
  expect(kept).not.toContain(await port(other));
  expect([sameTls(first, equal), sameTls(first, other), sameTls(undefined, first)]).toEqual([
    true,
    false,
    false,
  ]);
  outbound.drop(first);
  expect(kept).not.toContain(await port(equal));
});

test("a dropped configuration lets what is under way end", async () => {
  const answers: ServerResponse[] = [];
  const server = await serve({}, (_request, response) => {
    answers.push(response);
    response.write("a");
  });
  const outbound = open(server);
  const url = new URL(server.origin);
  const tls = new Tls(url, { caCertPem: ca.cert });
  const { body } = await outbound.request(url, { method: "GET", headers: {}, tls });
  outbound.drop(tls);
  answers[0]!.end("b");
  expect(Buffer.from(await body.bytes(10)).toString()).toBe("ab");
});

test("agents are bounded in number and closed when nobody used them", async () => {
  const opened: Agent[] = [];
  const agents = new TlsAgents(() => {
    const agent = new Agent();
    opened.push(agent);
    return agent;
  });
  const named = (name: string) => new Tls(new URL("https://a.example/"), { serverName: `${name}.test` });
  const kept = named("kept");
  expect(agents.get(kept)).toBe(agents.get(named("kept")));
  agents.sweep();
  agents.get(kept);
  agents.get(named("idle"));
  agents.sweep();
  agents.get(kept);
  agents.sweep();
  expect(agents.size).toBe(1);
  expect(opened.map(({ closed }) => closed)).toEqual([false, true]);
  for (let count = 0; count < 600; count++) agents.get(named(`n${count}`));
  expect(agents.size).toBe(256);
  await agents.destroy();
  expect(agents.size).toBe(0);
  expect(agents.get(kept)).not.toBe(opened[0]);
  await agents.destroy();
});
