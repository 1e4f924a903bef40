import { createHash, randomBytes } from "node:crypto";

/** What traffic is sent to, and with what. */
export interface Target {
  baseUrl: string;
  /** The value of a virtual key that may use the upstream. */
  key: string;
  /** A per-user upstream that nobody is connected to. */
  upstreamId: string;
  /** A tool of it, as clients call it. */
  tool: string;
}

const redirectUri = "http://127.0.0.1:7777/cb";

/** A browser with cookies that follows nothing. */
class Tab {
  readonly #baseUrl: string;
  readonly #cookies = new Map<string, string>();

  constructor({ baseUrl }: Target) {
    this.#baseUrl = baseUrl;
  }

  async send(path: string, form?: Record<string, string>): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(new URL(path, this.#baseUrl), {
      method: form ? "POST" : "GET",
      redirect: "manual",
      headers: { "sec-fetch-site": "same-origin", ...(cookie === "" ? {} : { cookie }) },
      body: form ? new URLSearchParams(form) : null,
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      const at = pair.indexOf("=");
      this.#cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    await response.arrayBuffer();
    return response;
  }

  /** Where it is sent on to; throws for any other answer. */
  async sent(path: string, form?: Record<string, string>): Promise<URL> {
    const response = await this.send(path, form);
    const location = response.headers.get("location");
    if (location === null) throw new Error(`${path} answered ${response.status}`);
    return new URL(location, this.#baseUrl);
  }
}

async function post(target: Target, path: string, body: unknown, headers: Record<string, string> = {}) {
  const isForm = body instanceof URLSearchParams;
  const response = await fetch(new URL(path, target.baseUrl), {
    method: "POST",
    headers: { ...(isForm ? {} : { "content-type": "application/json" }), ...headers },
    body: isForm ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text.startsWith("{") ? JSON.parse(text) : text,
  };
}

async function register(target: Target): Promise<string> {
  const { status, body } = await post(target, "/api/oauth/per-user/register", {
    client_name: "Passing by",
    redirect_uris: [redirectUri],
  });
  if (status !== 201) throw new Error(`register answered ${status}`);
  return body.client_id;
}

async function arrive(
  target: Target,
): Promise<{ tab: Tab; flow_id: string; clientId: string; verifier: string }> {
  const clientId = await register(target);
  const verifier = randomBytes(32).toString("base64url");
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: "code",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  const tab = new Tab(target);
  const page = await tab.sent(`/api/oauth/per-user/authorize?${query}`);
  return { tab, flow_id: page.searchParams.get("flow_id")!, clientId, verifier };
}

async function approve(target: Target) {
  const consent = await arrive(target);
  await consent.tab.sent("/api/oauth/per-user/consent/vk", { flow_id: consent.flow_id, vk: target.key });
  return consent;
}

/** Leaves for the provider and comes back with a no. */
async function cancel(target: Target, tab: Tab, away: URL): Promise<void> {
  const state = away.searchParams.get("state");
  if (state === null) throw new Error(`no provider: ${away.pathname}`);
  await tab.send(
    `/api/oauth/callback/${target.upstreamId}?${new URLSearchParams({ error: "access_denied", state })}`,
  );
}

function call(target: Target, headers: Record<string, string>) {
  const message = {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name: target.tool, arguments: {} },
  };
  return post(target, "/mcp", message, {
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2025-11-25",
    ...headers,
  });
}

async function link(target: Target, headers: Record<string, string>): Promise<URL> {
  const { status, body } = await call(target, headers);
  const [url] =
    /https?:\/\/\S+\/workspace\/mcp-sessions\/auth\S*/.exec(body.result?.content?.[0]?.text ?? "") ?? [];
  if (url === undefined)
    throw new Error(`the call answered ${status} without a link: ${JSON.stringify(body)}`);
  return new URL(url);
}

/** Each leaves nothing behind that anybody would miss. */
export const visits: Record<string, (target: Target) => Promise<unknown>> = {
  "a registration": register,
  "an authorize request that is abandoned": arrive,
  "a consent that is denied": async (target) => {
    const { tab, flow_id } = await approve(target);
    await tab.sent("/api/oauth/per-user/consent/deny", { flow_id });
  },
  "a consent that is left at the services, one connection cancelled": async (target) => {
    const { tab, flow_id } = await approve(target);
    const query = new URLSearchParams({ mcp_client_id: target.upstreamId, flow_id });
    await cancel(target, tab, await tab.sent(`/api/oauth/per-user/upstream/authorize?${query}`));
  },
  "a wrong code": (target) =>
    post(
      target,
      "/api/oauth/per-user/token",
      new URLSearchParams({
        grant_type: "authorization_code",
        client_id: "nobody",
        code: randomBytes(16).toString("hex"),
        code_verifier: randomBytes(32).toString("hex"),
      }),
    ),
  "a consent whose code is never redeemed": async (target) => {
    const { tab, flow_id } = await approve(target);
    await tab.sent("/api/oauth/per-user/consent/submit", { flow_id });
  },
  "a client that signs in once, renews its tokens and never comes again": async (target) => {
    const { tab, flow_id, clientId, verifier } = await approve(target);
    const back = await tab.sent("/api/oauth/per-user/consent/submit", { flow_id });
    const form = (fields: Record<string, string>) =>
      post(target, "/api/oauth/per-user/token", new URLSearchParams({ client_id: clientId, ...fields }));
    const code = back.searchParams.get("code")!;
    const first = await form({
      grant_type: "authorization_code",
      redirect_uri: redirectUri,
      code,
      code_verifier: verifier,
    });
    const second = await form({ grant_type: "refresh_token", refresh_token: first.body.refresh_token });
    if (second.status !== 200) throw new Error(`the refresh answered ${second.status}`);
  },
  "a call with a key, its link opened and cancelled at the provider": async (target) => {
    const url = await link(target, { authorization: `Bearer ${target.key}` });
    const tab = new Tab(target);
    await tab.send(url.pathname + url.search);
    const away = await tab.sent(url.pathname, { flow: url.searchParams.get("flow")!, vk: target.key });
    await cancel(target, tab, away);
  },
  "a call of an anonymous session, its link never opened": (target) =>
    link(target, { "x-bf-mcp-session-id": randomBytes(24).toString("hex") }),
  "a session of an older client that is ended": async (target) => {
    const headers = { authorization: `Bearer ${target.key}`, accept: "application/json, text/event-stream" };
    const params = {
      protocolVersion: "2025-11-25",
      capabilities: {},
      clientInfo: { name: "passing", version: "1" },
    };
    const begun = await post(
      target,
      "/mcp",
      { jsonrpc: "2.0", id: 1, method: "initialize", params },
      headers,
    );
    const session = begun.headers.get("mcp-session-id");
    if (session === null) throw new Error(`initialize answered ${begun.status}`);
    await fetch(new URL("/mcp", target.baseUrl), {
      method: "DELETE",
      headers: { ...headers, "mcp-session-id": session, "mcp-protocol-version": "2025-11-25" },
    });
  },
};

/** Makes every visit `times` times, some at once. */
export async function visitAll(target: Target, times: number, atOnce = 8): Promise<void> {
  const all = Object.entries(visits).flatMap(([name, visit]) => Array(times).fill({ name, visit }));
  const next = all.values();
  const worker = async () => {
    for (const { name, visit } of next) {
      await (visit as (target: Target) => Promise<unknown>)(target).catch((error) => {
        throw new Error(`${name}: ${error.message}`, { cause: error });
      });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
