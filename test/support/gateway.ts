import { type Gateway, openGateway } from "../../src/app.ts";
import type { Config } from "../../src/config.ts";
import { loadConfig } from "../../src/config.ts";
import { type Listening, listen } from "../../src/listen.ts";
import { freePort } from "../peers/free-port.ts";
import { assertNoSecretLeft, examine, watched, watchedLog } from "./leavings.ts";
import { marked, markedRandom } from "./marked.ts";

export const adminToken = marked("an-administrator-token-for-tests");

export interface GatewayOptions {
  /** `sqlite:…` or `postgres://…`; in memory unless told. */
  databaseUrl?: string;
  /** Loopback addresses the gateway may reach, as `host:port`. */
  outboundAllow?: string[];
  cimdAllow?: string[];
  port?: number;
  /** Changes to the configuration after defaults. */
  configure?(config: Config): void;
  now?: () => Date;
  /** Needed by a second replica on the same database. */
  encryptionKey?: string;
}

export interface RunningGateway {
  /** Its base URL, without a slash at the end. */
  url: string;
  gateway: Gateway;
  encryptionKey: string;
  /** Calls the management API as the administrator; throws when it is refused. */
  admin<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T>;
  stop(): Promise<void>;
  /** As when it dies: nobody hears from it any more, and nothing that it had in memory is written. `stop` later tidies up. */
  drop(): Promise<void>;
}

/** A whole gateway on a real loopback port, in this process. */
export async function startGateway(options: GatewayOptions = {}): Promise<RunningGateway> {
  const port = options.port ?? (await freePort());
  const encryptionKey =
    options.encryptionKey ?? Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
  const config = loadConfig({
    environment: {
      POSTERN_PORT: String(port),
      POSTERN_BASE_URL: `http://127.0.0.1:${port}`,
      POSTERN_DATABASE_URL: options.databaseUrl ?? "sqlite::memory:",
      POSTERN_ENCRYPTION_KEY: encryptionKey,
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_OUTBOUND_ALLOW: (options.outboundAllow ?? []).join(","),
      POSTERN_CIMD_ALLOW: (options.cimdAllow ?? []).join(","),
      POSTERN_LOG_LEVEL: "silent",
    },
  });
  options.configure?.(config);
  const gateway = await openGateway(config, {
    random: markedRandom,
    log: watchedLog(),
    ...(options.now ? { now: options.now } : {}),
  });
  const server: Listening = await listen(watched(gateway), "127.0.0.1", port);
  const url = `http://127.0.0.1:${port}`;
  let listening = true;
  const drop = async () => {
    if (listening) await server.stop();
    listening = false;
  };
  return {
    url,
    gateway,
    encryptionKey,
    admin: (method, path, body) => callAdmin(url, method, path, body),
    stop: async () => {
      examine("the metrics", await (await gateway.fetch(new Request(`${url}/metrics`))).text());
      await drop();
      await gateway.close();
      assertNoSecretLeft();
    },
    drop,
  };
}

async function callAdmin<T>(url: string, method: string, path: string, body: unknown): Promise<T> {
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${adminToken}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}
