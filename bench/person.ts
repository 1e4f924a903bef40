import { createHash, randomBytes } from "node:crypto";
import { request } from "undici";
import { Browser, type Link } from "../test/peers/browser.ts";

const redirectUri = "http://127.0.0.1:1/callback";

/** Where and as whom a person connects. */
export interface Visit {
  origin: string;
  adminToken: string;
  /** The name of the virtual key made for this person. */
  name: string;
  /** How many upstreams the services page offers; each is connected. */
  services: number;
}

/** Walks the real flow: virtual key, registration, consent, every Connect, submit, token. Returns the access token. */
export async function connectPerson(visit: Visit): Promise<string> {
  const key = await createVirtualKey(visit);
  const clientId = await registerClient(visit.origin);
  const verifier = randomBytes(32).toString("base64url");
  const code = await consent(visit, key, authorizeUrl(visit.origin, clientId, verifier));
  const answer = await post(`${visit.origin}/api/oauth/per-user/token`, {
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: clientId,
      redirect_uri: redirectUri,
      code_verifier: verifier,
      code,
    }),
  });
  return String(answer.access_token);
}

async function createVirtualKey({ origin, adminToken, name }: Visit): Promise<string> {
  const answer = await post(`${origin}/api/governance/virtual-keys`, {
    headers: { authorization: `Bearer ${adminToken}` },
    body: { name },
  });
  return (answer.virtual_key as { value: string }).value;
}

async function registerClient(origin: string): Promise<string> {
  const answer = await post(`${origin}/api/oauth/per-user/register`, {
    body: {
      client_name: "Benchmark",
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    },
  });
  return String(answer.client_id);
}

function authorizeUrl(origin: string, clientId: string, verifier: string): URL {
  const url = new URL(`${origin}/api/oauth/per-user/authorize`);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: "mcp",
    resource: `${origin}/mcp`,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  }).toString();
  return url;
}

async function consent({ services }: Visit, key: string, url: URL): Promise<string> {
  const browser = new Browser();
  try {
    await browser.get(url);
    await browser.submitForm("/consent/vk", { vk: key });
    for (let n = 0; n < services; n++) await browser.click(isConnect);
    const { stoppedAt, status, html } = await browser.submitForm(
      "/consent/submit",
      {},
      { stopAt: redirectUri },
    );
    const code = stoppedAt?.searchParams.get("code");
    if (!code)
      throw new Error(`The consent ended with ${status} and no code: ${stoppedAt ?? html.slice(0, 1000)}`);
    return code;
  } finally {
    await browser.close();
  }
}

function isConnect({ text }: Link): boolean {
  return text === "Connect";
}

/** Sends JSON or a form and reads JSON. Throws what the server said when it is not 2xx. */
async function post(
  url: string,
  { headers, body }: { headers?: Record<string, string>; body: object },
): Promise<Record<string, unknown>> {
  const form = body instanceof URLSearchParams;
  const answer = await request(url, {
    method: "POST",
    headers: { "content-type": form ? "application/x-www-form-urlencoded" : "application/json", ...headers },
    body: form ? body.toString() : JSON.stringify(body),
  });
  const text = await answer.body.text();
  if (answer.statusCode > 299) throw new Error(`POST ${new URL(url).pathname}: ${answer.statusCode} ${text}`);
  return JSON.parse(text) as Record<string, unknown>;
}
