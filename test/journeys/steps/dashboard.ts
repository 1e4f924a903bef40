import assert from "node:assert/strict";
import type { Answer } from "./management.ts";

/** A browser at the dashboard's API: it holds cookies and nothing else. */
export class Dashboard {
  readonly #baseUrl: string;
  readonly #cookies = new Map<string, string>();

  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl;
  }

  async signIn(email: string, password: string): Promise<Answer> {
    return this.send("POST", "/api/session/login", { email, password });
  }

  /** Opens a one-time link and submits its form with `password`; resolves with the status of the last answer. */
  async choosePassword(link: string, password: string): Promise<number> {
    const opened = await this.#fetch(link, { method: "GET" });
    if (opened.status !== 303) return opened.status;
    const form = new URLSearchParams({ password }).toString();
    const answer = await this.#fetch("/password", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: form,
    });
    return answer.status;
  }

  async page(path: string): Promise<{ status: number; text: string }> {
    const answer = await this.#fetch(path, { method: "GET" });
    return { status: answer.status, text: await answer.text() };
  }

  async send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const answer = await this.#fetch(path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, body: text.startsWith("{") ? JSON.parse(text) : text };
  }

  async expect(status: number, method: string, path: string, body?: unknown): Promise<Answer["body"]> {
    const answer = await this.send(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(new URL(path, this.#baseUrl), {
      ...init,
      redirect: "manual",
      headers: { ...init.headers, ...(cookie === "" ? {} : { cookie }) },
    });
    for (const line of answer.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      const [name = "", value = ""] = pair.split("=");
      if (value === "") this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    return answer;
  }
}
