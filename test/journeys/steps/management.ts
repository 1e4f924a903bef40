import assert from "node:assert/strict";

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a journey says what it expects of the shape by asserting it
  body: any;
}

/** What a row of `GET /api/mcp/sessions` shows (contract section 2). */
export interface SessionRow {
  id: string;
  kind: "token" | "header" | "flow";
  auth_mode: "user" | "vk" | "session";
  status: string;
  created_at: string;
  last_refreshed_at?: string;
  can_reauth: boolean;
  mcp_client?: { client_id: string; name: string };
  virtual_key?: { id: string; name: string };
}

/** The management API with one bearer credential: the administrator's token, or a virtual key for its own rows. */
export class Management {
  readonly #baseUrl: string;
  readonly #bearer: string;

  constructor(baseUrl: string, bearer: string) {
    this.#baseUrl = baseUrl;
    this.#bearer = bearer;
  }

  async send(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await fetch(new URL(path, this.#baseUrl), {
      method,
      headers: {
        authorization: `Bearer ${this.#bearer}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** The body of an answer that must have this status. */
  async expect(status: number, method: string, path: string, body?: unknown): Promise<Answer["body"]> {
    const answer = await this.send(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  createUpstream(definition: Record<string, unknown>): Promise<Answer["body"]> {
    return this.expect(200, "POST", "/api/mcp/client", {
      connection_type: "http",
      tools_to_execute: ["*"],
      ...definition,
    });
  }

  /** Asks the upstream for its tools now; resolves with their own names. */
  async refreshTools(upstreamId: string): Promise<string[]> {
    await this.expect(200, "POST", `/api/mcp/client/${upstreamId}/refresh-tools`);
    return this.tools(upstreamId);
  }

  /** The names of the tools that the gateway knows of an upstream. */
  async tools(upstreamId: string): Promise<string[]> {
    const { clients } = await this.expect(200, "GET", "/api/mcp/clients?limit=100");
    const entry = clients.find(
      (one: { config: { client_id: string } }) => one.config.client_id === upstreamId,
    );
    assert.ok(entry, `the upstream ${upstreamId} is not listed`);
    return entry.tools.map((tool: { name: string }) => tool.name);
  }

  /** A key that may use all tools of these upstreams. `value` is shown this once. */
  async createKey(name: string, upstreamIds: string[]): Promise<{ id: string; value: string }> {
    const { virtual_key } = await this.expect(200, "POST", "/api/governance/virtual-keys", {
      name,
      mcp_configs: allTools(upstreamIds),
    });
    assert.match(virtual_key.value, /^sk-bf-/);
    return virtual_key;
  }

  /** From now on the key may use these upstreams and no other. */
  async allowKey(keyId: string, upstreamIds: string[]): Promise<void> {
    await this.expect(200, "PUT", `/api/governance/virtual-keys/${keyId}`, {
      mcp_configs: allTools(upstreamIds),
    });
  }

  async sessions(query: Record<string, string> = {}): Promise<SessionRow[]> {
    const { sessions } = await this.expect(200, "GET", `/api/mcp/sessions?${new URLSearchParams(query)}`);
    return sessions;
  }

  /** The one row there is. */
  async onlySession(query: Record<string, string> = {}): Promise<SessionRow> {
    const rows = await this.sessions(query);
    assert.equal(rows.length, 1, `one session expected: ${JSON.stringify(rows)}`);
    return rows[0]!;
  }
}

function allTools(upstreamIds: string[]): Record<string, unknown>[] {
  return upstreamIds.map((id) => ({ mcp_client_id: id, tools_to_execute: ["*"] }));
}
