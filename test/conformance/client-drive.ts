import { text } from "node:stream/consumers";
import {
  type CallToolResult,
  Client,
  StreamableHTTPClientTransport,
  type Tool,
} from "@modelcontextprotocol/client";
import { Administrator } from "../journeys/steps/person.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";

/** One client scenario: the suite's mock server, and what the suite says beside its address. */
export interface ClientScenario {
  url: string;
  scenario: string;
  context: Record<string, unknown>;
  /** The revision that is tested. */
  version: string;
}

/** More than any scenario needs, fewer than an endless loop. */
const MOST_CONSENTS = 4;

/**
 * The gateway as the client under test: a whole gateway with the mock server as its only upstream, an administrator who
 * connects the account it shares, and a client that lists and calls every tool.
 */
export async function driveClient(scenario: ClientScenario): Promise<void> {
  const gateway = await startGateway({
    configure: (config) => {
      // The mock's authorization servers have ports that nobody knows yet.
      config.outboundAllow = everyPortOfLocalhost();
    },
  });
  const administrator = new Administrator();
  try {
    await administrator.setUp((await gateway.gateway.setupLink()) ?? "");
    const upstream = await addUpstream(gateway, scenario);
    if (upstream.status === "pending_oauth") await consent(gateway, administrator, upstream);
    else await gateway.admin("POST", `/api/mcp/client/${upstream.mcp_client_id}/refresh-tools`);
    await useEverything(gateway, administrator, upstream, scenario);
  } finally {
    await administrator.close();
    await gateway.stop();
  }
}

/** The answer to whoever makes or connects an upstream. */
interface Upstream {
  status: string;
  mcp_client_id: string;
  authorize_url?: string;
  complete_url?: string;
}

/** Connects the account; once more where the server takes it no more as soon as it is there. */
async function consent(
  gateway: RunningGateway,
  administrator: Administrator,
  { mcp_client_id, authorize_url = "", complete_url = "" }: Upstream,
  again = true,
): Promise<void> {
  const { admin } = gateway;
  await administrator.connect(authorize_url);
  try {
    await admin("POST", new URL(complete_url).pathname);
  } catch (error) {
    if (!again || !/credential_missing|oauth_pending/.test(String(error))) throw error;
    const next = await admin<Upstream>("POST", `/api/mcp/client/${mcp_client_id}/reauthorize`);
    await consent(gateway, administrator, next, false);
  }
}

function everyPortOfLocalhost(): string[] {
  return Array.from({ length: 64_000 }, (_, index) => `localhost:${index + 1_024}`);
}

function addUpstream(
  { admin }: RunningGateway,
  { url, scenario, context }: ClientScenario,
): Promise<Upstream> {
  return admin("POST", "/api/mcp/client", {
    name: "mock",
    connection_type: "http",
    connection_string: url,
    tools_to_execute: ["*"],
    allow_on_all_virtual_keys: true,
    ...authentication(scenario, context),
  });
}

/** What an administrator would write for this server. */
function authentication(scenario: string, context: Record<string, unknown>): Record<string, unknown> {
  if (!scenario.startsWith("auth/")) return { auth_type: "none" };
  const { client_id, client_secret, private_key_pem } = context;
  if (scenario === "auth/wif-jwt-bearer") {
    const assertion = context.valid_jwt;
    return { auth_type: "oauth", oauth_config: { grant_type: "jwt_bearer", client_id, assertion } };
  }
  if (scenario === "auth/enterprise-managed-authorization") {
    const { idp_id_token: assertion, idp_token_endpoint: token_url, idp_client_id } = context;
    const grant = { grant_type: "token_exchange", assertion, idp: { token_url, client_id: idp_client_id } };
    return { auth_type: "oauth", oauth_config: { client_id, client_secret, ...grant } };
  }
  if (scenario.startsWith("auth/client-credentials")) {
    const proof = private_key_pem === undefined ? { client_secret } : { private_key: private_key_pem };
    return { auth_type: "oauth", oauth_config: { grant_type: "client_credentials", client_id, ...proof } };
  }
  const oauth_config = client_id === undefined ? {} : { client_id, client_secret };
  return { auth_type: "oauth", oauth_config };
}

async function makeKey({ admin }: RunningGateway): Promise<string> {
  const { virtual_key } = await admin<{ virtual_key: { value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    { name: "driver" },
  );
  return virtual_key.value;
}

async function useEverything(
  gateway: RunningGateway,
  administrator: Administrator,
  upstream: Upstream,
  scenario: ClientScenario,
): Promise<void> {
  const client = await connectedClient(gateway, await makeKey(gateway), scenario.version);
  try {
    let consents = MOST_CONSENTS;
    const tools = (await client.listTools()).tools.filter((tool) => tool.name.startsWith("mock-"));
    for (const { tool, args } of calls(tools, scenario.context)) {
      const call = () => client.callTool({ name: tool.name, arguments: args }, { timeout: 20_000 });
      while (isLost(await call()) && consents-- > 0) {
        const path = `/api/mcp/client/${upstream.mcp_client_id}/reauthorize`;
        await consent(gateway, administrator, await gateway.admin<Upstream>("POST", path));
      }
    }
  } finally {
    await client.close();
  }
}

/** Whether a person has to do something before the call can work. */
function isLost({ isError, content, _meta }: CallToolResult): boolean {
  return isError === true && /administrator|connect/i.test(JSON.stringify([content, _meta]));
}

/** Every tool once; what the suite names for a tool comes in its place. */
function calls(
  tools: readonly Tool[],
  context: Record<string, unknown>,
): { tool: Tool; args: Record<string, unknown> }[] {
  const named = Array.isArray(context.toolCalls)
    ? (context.toolCalls as { name: string; arguments?: Record<string, unknown> }[])
    : [];
  return tools.flatMap((tool) => {
    const own = named.filter(({ name }) => `mock-${name}` === tool.name);
    if (own.length > 0) return own.map(({ arguments: args = {} }) => ({ tool, args }));
    return [{ tool, args: sampleOf(tool, tools) }];
  });
}

/** Something of the right kind for each property; where a schema is wanted, the richest there is, as it was listed. */
function sampleOf({ inputSchema }: Tool, tools: readonly Tool[]): Record<string, unknown> {
  const schema = tools.find((tool) => "$schema" in tool.inputSchema)?.inputSchema ?? {};
  const samples: Record<string, unknown> = {
    number: 5,
    integer: 5,
    boolean: true,
    array: [],
    object: schema,
  };
  const properties = Object.entries((inputSchema.properties ?? {}) as Record<string, { type?: string }>);
  return Object.fromEntries(properties.map(([name, { type }]) => [name, samples[type ?? ""] ?? "sample"]));
}

/** A client that can be asked, and answers with the defaults it was shown. */
async function connectedClient(gateway: RunningGateway, key: string, version: string): Promise<Client> {
  const client = new Client(
    { name: "conformance-driver", version: "1.0.0" },
    {
      capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} },
      versionNegotiation: { mode: version === "2026-07-28" ? { pin: version } : "legacy" },
    },
  );
  client.setRequestHandler("elicitation/create", async ({ params }) => ({
    action: "accept",
    content: defaultsOf("requestedSchema" in params ? params.requestedSchema.properties : {}),
  }));
  client.setRequestHandler("sampling/createMessage", async () => ({
    role: "assistant",
    content: { type: "text", text: "sampled" },
    model: "none",
    stopReason: "endTurn",
  }));
  client.setRequestHandler("roots/list", async () => ({ roots: [] }));
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", gateway.url), { requestInit }));
  return client;
}

function defaultsOf(
  properties: Record<string, unknown>,
): Record<string, string | number | boolean | string[]> {
  const given = Object.entries(
    properties as Record<string, { type?: string; default?: string | number | boolean }>,
  );
  return Object.fromEntries(
    given.map(([name, { type, default: value }]) => [name, value ?? type === "boolean"]),
  );
}

/**
 * Drives scenarios in this process, one after another as they come: `client-driver.ts`, which the suite starts anew for each,
 * only asks. A gateway is up in a tenth of the time that its code takes to load.
 */
export async function startDriver(): Promise<{ url: string; close(): Promise<void> }> {
  const listening = await startLoopbackServer(async (req, res) => {
    try {
      await driveClient(JSON.parse(await text(req)) as ClientScenario);
      res.end("{}");
    } catch (error) {
      res.writeHead(500).end(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  });
  return { url: listening.origin, close: () => listening.close() };
}
