import { Agent, request } from "undici";

export interface Answered {
  status: number;
  /** Where it leads; relative addresses are made whole. */
  location: URL | undefined;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

/** The gateway did not answer: it died, or it is not there yet. Whether it did what was asked is not known. */
export class Unanswered extends Error {}

/** What a person's browser or a client does on the wire, one request at a time; nothing is repeated by itself. */
export class Web {
  readonly base: string;
  readonly #agent = new Agent({ keepAliveTimeout: 1000, connectTimeout: 5000 });
  readonly #cookies = new Map<string, string>();

  constructor(base: string) {
    this.base = base;
  }

  get(to: string | URL, headers: Record<string, string> = {}): Promise<Answered> {
    return this.#send("GET", to, headers);
  }

  form(path: string, fields: Record<string, string>): Promise<Answered> {
    return this.#send(
      "POST",
      path,
      { "content-type": "application/x-www-form-urlencoded" },
      new URLSearchParams(fields).toString(),
    );
  }

  json(
    method: "POST" | "PUT" | "DELETE",
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answered> {
    if (body === undefined) return this.#send(method, path, headers);
    return this.#send(method, path, { "content-type": "application/json", ...headers }, JSON.stringify(body));
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #send(
    method: "GET" | "POST" | "PUT" | "DELETE",
    to: string | URL,
    headers: Record<string, string>,
    body?: string,
  ): Promise<Answered> {
    const url = new URL(to, this.base);
    const isOurs = url.origin === this.base;
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const sent = {
      ...(isOurs && cookie !== "" ? { cookie } : {}),
      ...(isOurs && headers.authorization === undefined ? { "sec-fetch-site": "same-origin" } : {}),
      ...headers,
    };
    try {
      const answer = await request(url, { method, headers: sent, body, dispatcher: this.#agent });
      const text = await answer.body.text();
      if (isOurs) this.#keep([answer.headers["set-cookie"] ?? []].flat());
      const { location } = answer.headers;
      return {
        status: answer.statusCode,
        location: typeof location === "string" ? new URL(location, url) : undefined,
        headers: answer.headers,
        text,
      };
    } catch (error) {
      throw new Unanswered(`${method} ${url.pathname}: ${(error as Error).message}`, { cause: error });
    }
  }

  #keep(lines: string[]): void {
    for (const line of lines) {
      const [pair = ""] = line.split(";");
      const equals = pair.indexOf("=");
      this.#cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
  }
}
