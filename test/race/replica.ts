import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { freePort } from "../peers/free-port.ts";
import { startGateway } from "../support/gateway.ts";

/** What every replica of one gateway is started with. */
export interface ReplicaOptions {
  databaseUrl: string;
  encryptionKey: string;
  /** The public address; absent for the first, whose own it is. */
  baseUrl?: string;
  outboundAllow: string[];
}

/** A replica whose clock is moved from outside. */
export interface Replica {
  url: string;
  setupLink?: string;
  advance(ms: number): Promise<void>;
  stop(): Promise<void>;
}

export type OpenReplica = (options: ReplicaOptions) => Promise<Replica>;

/** In this process. */
export const openHere: OpenReplica = async ({ baseUrl, ...options }) => {
  let later = 0;
  const port = await freePort();
  const { url, gateway, stop } = await startGateway({
    ...options,
    port,
    now: () => new Date(Date.now() + later),
    configure: ({ settings }) => {
      if (baseUrl === undefined) return;
      settings.baseUrl = new URL(baseUrl);
      settings.aliases = [`http://127.0.0.1:${port}`];
    },
  });
  await gateway.startJobs();
  return {
    url,
    // Every start ends the earlier link.
    setupLink: baseUrl === undefined ? await gateway.setupLink() : undefined,
    advance: async (ms) => {
      later += ms;
    },
    stop,
  };
};

/** In a process of its own. */
export const openApart: OpenReplica = async (options) => {
  const child = fork(fileURLToPath(import.meta.url), { serialization: "json" });
  const endWithUs = () => child.kill();
  process.once("exit", endWithUs);
  const ready = answerOf(child);
  child.send(options);
  const { url, setupLink } = (await ready) as { url: string; setupLink?: string };
  return {
    url,
    setupLink,
    advance: async (ms) => {
      const moved = answerOf(child);
      child.send({ advance: ms });
      await moved;
    },
    stop: async () => {
      process.off("exit", endWithUs);
      const ended = once(child, "exit");
      child.send({ stop: true });
      await ended;
    },
  };
};

async function answerOf(child: ChildProcess): Promise<unknown> {
  const done = new AbortController();
  const gone = once(child, "exit", { signal: done.signal }).then(([code]) => {
    throw new Error(`a replica ended with ${code}`);
  });
  try {
    const [message] = await Promise.race([once(child, "message", { signal: done.signal }), gone]);
    return message;
  } finally {
    gone.catch(() => undefined);
    done.abort();
  }
}

async function serveParent(): Promise<void> {
  process.once("disconnect", () => process.exit(1));
  let replica: Replica | undefined;
  process.on("message", async (message: ReplicaOptions & { advance?: number; stop?: true }) => {
    if (message.stop) {
      await replica!.stop();
      process.exit(0);
    }
    if (message.advance !== undefined) await replica!.advance(message.advance);
    else replica = await openHere(message);
    process.send!({ url: replica!.url, setupLink: replica!.setupLink });
  });
}

if (import.meta.main) await serveParent();
