import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { type Outbound, openOutbound } from "../base/index.ts";
import { ClientDocuments, isDocumentUrl } from "./client-documents.ts";

const HOUR = 60 * 60_000;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serve(
  listener: RequestListener,
): Promise<{ server: Server; port: number; hits: () => number }> {
  let hits = 0;
  const server = createServer((request, response) => {
    hits += 1;
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { server, port: (server.address() as AddressInfo).port, hits: () => hits };
}

function documents(ports: number[]) {
  const allow = { admin: [], stranger: ports.map((port) => `127.0.0.1:${port}`) };
  const outbound: Outbound = openOutbound({ allow });
  closing.push(() => outbound.close());
  const world = testWorld(outbound);
  return { world, documents: new ClientDocuments(world, testSettings()) };
}

interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

/** A document host on which every path is scripted, and the document it would serve. */
async function host(answer: (good: object, path: string) => Answer) {
  const at = await serve((request, response) => {
    const clientId = `http://127.0.0.1:${at.port}${request.url}`;
    const good = { client_id: clientId, client_name: "Desk", redirect_uris: ["http://localhost/callback"] };
    const { status = 200, headers = {}, body = JSON.stringify(good) } = answer(good, request.url ?? "");
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body);
  });
  return {
    ...at,
    url: (path = "/client.json") => `http://127.0.0.1:${at.port}${path}`,
    ...documents([at.port]),
  };
}

describe("client documents", () => {
  it("are read, and kept as long as their host says, a day at most", async () => {
    const at = await host(() => ({ headers: { "cache-control": "max-age=315360000" } }));
    expect(await at.documents.find(at.url())).toEqual({
      name: "Desk",
      redirectUris: ["http://localhost/callback"],
      host: `127.0.0.1:${at.port}`,
    });
    at.world.advance(24 * HOUR - 1);
    await at.documents.find(at.url());
    expect(at.hits()).toBe(1);
    at.world.advance(1);
    await at.documents.find(at.url());
    expect(at.hits()).toBe(2);
  });

  it("RG-15 no-store is kept for a minute, so that nobody makes us hammer a host", async () => {
    const at = await host(() => ({ headers: { "cache-control": "no-store" } }));
    for (let n = 0; n < 5; n++) await at.documents.find(at.url());
    expect(at.hits()).toBe(1);
    at.world.advance(60_000);
    await at.documents.find(at.url());
    expect(at.hits()).toBe(2);
  });

  it("RG-14 anything that is not a whole, honest document is refused, and remembered briefly", async () => {
    const faults: Record<string, (good: object) => Answer> = {
      slash: (good) => ({ body: JSON.stringify({ ...good, client_id: "http://127.0.0.1/other" }) }),
      created: () => ({ status: 201 }),
      moved: () => ({ status: 301, headers: { location: "/good" } }),
      missing: () => ({ status: 404 }),
      failing: () => ({ status: 500 }),
      html: () => ({ headers: { "content-type": "text/html" } }),
      large: (good) => ({ body: JSON.stringify({ ...good, pad: "x".repeat(6 * 1024) }) }),
      bomb: () => ({
        headers: { "content-encoding": "gzip" },
        body: gzipSync(Buffer.alloc(50 * 1024 * 1024)),
      }),
      nameless: (good) => ({ body: JSON.stringify({ ...good, client_name: undefined }) }),
      homeless: (good) => ({ body: JSON.stringify({ ...good, redirect_uris: [] }) }),
      script: (good) => ({ body: JSON.stringify({ ...good, redirect_uris: ["javascript:x"] }) }),
      method: (good) => ({
        body: JSON.stringify({ ...good, token_endpoint_auth_method: "client_secret_post" }),
      }),
      secret: (good) => ({ body: JSON.stringify({ ...good, client_secret: "s" }) }),
      twice: (good) => ({ body: JSON.stringify(good).replace("{", '{"client_name":"Other",') }),
      text: () => ({ body: "no json" }),
    };
    const at = await host((good, path) => faults[path.slice(1)]?.(good) ?? {});
    for (const name of Object.keys(faults))
      expect([name, await at.documents.find(at.url(`/${name}`))]).toEqual([name, undefined]);
    const before = at.hits();
    await at.documents.find(at.url("/missing"));
    expect(at.hits()).toBe(before);
    at.world.advance(30_000);
    await at.documents.find(at.url("/missing"));
    expect(at.hits()).toBe(before + 1);
  });

  it("RG-13 an address that is not allowed is never reached, nor one behind a redirect", async () => {
    const canary = await serve((_request, response) => response.end());
    const at = await host(() => ({
      status: 302,
      headers: { location: `http://127.0.0.1:${canary.port}/x` },
    }));
    expect(await at.documents.find(at.url())).toBeUndefined();
    expect(await at.documents.find(`http://127.0.0.1:${canary.port}/client.json`)).toBeUndefined();
    expect(await at.documents.find(`https://localhost:${canary.port}/client.json`)).toBeUndefined();
    expect(canary.hits()).toBe(0);
  });

  it("RG-16 one fetch per address however many wait, and few at once", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const at = await serve(async (request, response) => {
      await held;
      const client_id = `http://127.0.0.1:${at.port}${request.url}`;
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({ client_id, client_name: "Desk", redirect_uris: ["http://localhost/cb"] }),
      );
    });
    const { documents: reader } = documents([at.port]);
    const url = (n: number) => `http://127.0.0.1:${at.port}/${n}x`;
    const same = Array.from({ length: 200 }, () => reader.find(url(0)));
    const others = Array.from({ length: 15 }, (_, n) => reader.find(url(n + 1)));
    await expect(reader.find(url(99))).rejects.toMatchObject({ status: 503, code: "busy" });
    release();
    expect((await Promise.all([...same, ...others])).every((document) => document?.name === "Desk")).toBe(
      true,
    );
    expect(at.hits()).toBe(16);
  });

  it("an address is https with a path, in one spelling", () => {
    for (const url of ["https://a.example/c.json", "https://a.example:8443/c", "http://127.0.0.1:1/c"]) {
      expect([url, isDocumentUrl(url)]).toEqual([url, true]);
    }
    for (const url of [
      "https://a.example",
      "https://a.example/",
      "http://a.example/c",
      "https://u:p@a.example/c",
      "https://a.example/c#f",
      "https://a.example/x/../c",
      "https://A.example/c",
      "https://a.example:443/c",
      "https://a.example/c ",
      `https://a.example/${"x".repeat(1000)}`,
      "ftp://a.example/c",
    ]) {
      expect([url, isDocumentUrl(url)]).toEqual([url, false]);
    }
  });
});
