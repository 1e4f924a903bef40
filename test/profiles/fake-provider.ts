import type { Outbound, OutboundFetchInit } from "../../src/base/index.ts";
import { openOutbound, parseAllowList } from "../../src/base/index.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";

export interface SeenRequest {
  method: string;
  /** As the gateway wrote it, with the provider's real host. */
  url: string;
  headers: Record<string, unknown>;
  body: string;
}

interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
}

/**
 * The internet with one provider in it: a loopback server answers for every host, and the way out leads there whatever
 * the address. `answers` by `METHOD address`; anything else is 404.
 */
export async function startFakeProvider() {
  const seen: SeenRequest[] = [];
  const answers: Record<string, Answer> = {};
  const server = await startLoopbackServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const { method = "", headers } = request;
      const url = `https:/${request.url}`;
      seen.push({ method, url, headers, body });
      const answer = answers[`${method} ${url}`] ?? { status: 404 };
      const type = answer.body === undefined ? {} : { "content-type": "application/json" };
      response.writeHead(answer.status ?? 200, { ...type, ...answer.headers });
      response.end(answer.body === undefined ? "" : JSON.stringify(answer.body));
    });
  });
  const real = openOutbound({
    allow: { admin: parseAllowList(`127.0.0.1:${server.port}`), stranger: [] },
  });
  const outbound: Outbound = {
    ...real,
    fetch: (url: string | URL, init?: OutboundFetchInit) => {
      const { protocol, host, pathname, search } = new URL(url);
      if (protocol !== "https:") throw new Error(`${url} is not https`);
      return real.fetch(`${server.origin}/${host}${pathname}${search}`, init);
    },
  };
  const close = async () => {
    await real.close();
    await server.close();
  };
  return { answers, seen, outbound, close };
}
