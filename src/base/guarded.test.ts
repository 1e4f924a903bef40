import { connect, createServer as createTcpServer } from "node:net";
import { expect, test, vi } from "vitest";
import { admin, canary, failure, listen, names, open, resolveTestNames, serve } from "./guarded.suite.ts";
import { checkedLookup, hasPublicPeer } from "./guarded-connect.ts";
import { OutboundError } from "./outbound-error.ts";

const hosts = [
  "2130706433",
  "0x7f000001",
  "0x7f.1",
  "0177.0.0.1",
  "017700000001",
  "127.1",
  "127.0.1",
  "127.000.000.001",
  "0",
  "0.0.0.0",
  "127.0.0.1",
  "127.0.0.1.",
  "127.255.255.254",
  "10.0.0.1",
  "100.100.100.200",
  "169.254.169.254",
  "0xa9fea9fe",
  "2852039166",
  "168.63.129.16",
  "192.168.0.1",
  "255.255.255.255",
  "[::1]",
  "[::]",
  "[0:0:0:0:0:0:0:1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::127.0.0.1]",
  "[64:ff9b::7f00:1]",
  "[2002:7f00:1::]",
  "[2001::1]",
  "[fd00:ec2::254]",
  "[fe80::1]",
  "[fe80::1%25lo]",
  "[ff02::1]",
  "LOCALHOST",
  "①②⑦.⓪.⓪.①",
  "127。0。0。1",
  "127.0.0.1%00.example",
  "%31%32%37.0.0.1",
  "127.0.0.1#@example",
  "example@127.0.0.1",
  "example:secret@127.0.0.1",
  "127.0.0.1\\@example.com",
  "",
  "a b",
  ...Object.keys(names),
];

test.each(hosts)(
  "UP-12 UP-15 RG-13 host %j is refused before connect, for both policies and schemes",
  async (host) => {
    const trap = await canary();
    // Naming one port opens neither its neighbours nor the other policy.
    const allowed = [`127.0.0.1:${trap.port === 65_535 ? 1 : trap.port + 1}`];
    const outbound = open({ admin: allowed, stranger: allowed }, resolveTestNames);
    for (const scheme of ["https", "http"]) {
      const at = host.search(/[#\\]/);
      const url =
        at < 0
          ? `${scheme}://${host}:${trap.port}/`
          : `${scheme}://${host.slice(0, at)}:${trap.port}${host.slice(at)}`;
      for (const policy of ["admin", "stranger"] as const) {
        const { reason } = await failure(outbound.fetch(url, { policy, timeoutMs: 2_000 }));
        expect(host === "" || host === "garbage.test" ? ["refused"] : ["refused", "unresolvable"]).toContain(
          reason,
        );
      }
      const parsed = URL.parse(url);
      if (parsed) await failure(outbound.request(parsed, { method: "GET", headers: {} }));
    }
    expect(trap.connections()).toBe(0);
  },
);

test.each(["ws", "wss", "file", "ftp", "unix", "data", "blob", "javascript", "gopher", "http+unix"])(
  "UP-17 scheme %s is refused",
  async (scheme) => {
    const trap = await canary();
    const outbound = open({ admin: [`127.0.0.1:${trap.port}`] });
    const url = scheme === "file" ? "file:///etc/passwd" : `${scheme}://127.0.0.1:${trap.port}/`;
    expect((await failure(outbound.fetch(url, admin))).reason).toBe("refused");
    expect((await failure(outbound.request(new URL(url), { method: "GET", headers: {} }))).reason).toBe(
      "refused",
    );
    expect(trap.connections()).toBe(0);
  },
);

test("RG-13 loopback over IPv6 is refused as well", async (context) => {
  const trap = await canary("::1").catch(() => context.skip());
  const outbound = open({ admin: [`127.0.0.1:${trap.port}`, `localhost:${trap.port}`] });
  for (const host of ["[::1]", "[::ffff:127.0.0.1]"])
    await failure(outbound.fetch(`https://${host}:${trap.port}/`, admin));
  expect(trap.connections()).toBe(0);
});

test("an allowed host:port is reached, its other spelling, its neighbour and the other policy are not", async () => {
  const port = await serve((_request, response) => response.end("hello"));
  const trap = await canary();
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  const answer = await outbound.fetch(`http://127.0.0.1:${port}/a?b=1`, admin);
  expect([answer.status, answer.url, await answer.text()]).toEqual([
    200,
    `http://127.0.0.1:${port}/a?b=1`,
    "hello",
  ]);
  expect((await failure(outbound.fetch(`http://127.0.0.1:${trap.port}/`, admin))).reason).toBe("refused");
  expect((await failure(outbound.fetch(`http://localhost:${port}/`, admin))).reason).toBe("refused");
  expect((await failure(outbound.fetch(`https://localhost:${port}/`, admin))).reason).toBe("refused");
  expect((await failure(outbound.fetch(`http://127.0.0.1:${port}/`, { policy: "stranger" }))).reason).toBe(
    "refused",
  );
  expect((await failure(outbound.fetch(`http://127.0.0.1:${port}/`))).reason).toBe("refused");
  expect(trap.connections()).toBe(0);
});

test("RG-13 an address that flips after the check is not used: one question per connection, its answer pinned", async () => {
  const asked: string[] = [];
  const flipping = async (name: string) => {
    asked.push(name);
    return [{ address: asked.length === 1 ? "1.1.1.1" : "127.0.0.1", family: 4 }];
  };
  const lookup = checkedLookup(flipping, (address) => address === "1.1.1.1");
  const look = () =>
    new Promise((resolve) =>
      lookup("flip.test", { all: true }, (error, found) => resolve(error?.message ?? found)),
    );
  expect(await look()).toEqual([{ address: "1.1.1.1", family: 4 }]);
  expect(asked).toEqual(["flip.test"]);
  expect(await look()).toBe(new OutboundError("refused").message);
});

test("RG-13 the peer itself is checked and hung up on", async () => {
  const port = await listen(createTcpServer());
  const socket = connect(port, "127.0.0.1");
  await new Promise((resolve) => socket.once("connect", resolve));
  expect(hasPublicPeer(socket)).toBe(false);
  expect(socket.destroyed).toBe(true);
});

test("UP-17 proxy variables change nothing", async () => {
  const trap = await canary();
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"]) {
    vi.stubEnv(name, `http://127.0.0.1:${trap.port}`);
  }
  vi.stubEnv("NODE_USE_ENV_PROXY", "1");
  const port = await serve((_request, response) => response.end("direct"));
  const outbound = open({ admin: [`127.0.0.1:${port}`] });
  expect(await (await outbound.fetch(`http://127.0.0.1:${port}/`, admin)).text()).toBe("direct");
  expect(trap.connections()).toBe(0);
});
