import { describe, expect, it } from "vitest";
import { startLoopbackServer } from "../test/peers/loopback-server.ts";
import { Connection, isWhole, postBytes } from "./connection.ts";

describe("the load generator's connection", () => {
  it.each([
    ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", false],
    ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", false],
    ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", false],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true],
  ])("%j is whole: %s", (answer, whole) => {
    expect(isWhole(answer)).toBe(whole);
  });

  it("sends what it says and reads answer after answer, with a length or in chunks", async () => {
    const bodies: string[] = [];
    const server = await startLoopbackServer(async (req, res) => {
      const chunks: Buffer[] = await req.toArray();
      bodies.push(`${req.headers["x-name"]} ${Buffer.concat(chunks).toString()}`);
      if (bodies.length > 1) res.write("in "); // Without a length.
      res.end("pieces");
    });
    const url = new URL(`${server.origin}/path`);
    const connection = await Connection.open(url);
    const request = postBytes(url, { "x-name": "value" }, "hello");
    expect(await connection.exchange(request)).toMatch(/Content-Length: 6\r\n.*pieces$/s);
    expect(await connection.exchange(request)).toMatch(/chunked\r\n.*in .*pieces\r\n0\r\n\r\n$/s);
    expect(bodies).toEqual(["value hello", "value hello"]);
    connection.close();
    await server.close();
  });

  it("does not wait for an answer that will not come", async () => {
    const server = await startLoopbackServer((req) => void req.socket.destroy());
    const url = new URL(server.origin);
    const connection = await Connection.open(url);
    await expect(connection.exchange(postBytes(url, {}, ""))).rejects.toThrow();
    await server.close();
  });
});
