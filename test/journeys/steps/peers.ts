import { type EverythingUpstream, startEverythingUpstream } from "../../peers/everything-upstream.ts";
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from "../../peers/identity-provider.ts";
import { type ModernUpstream, type Protection, startModernUpstream } from "../../peers/modern-upstream.ts";

/** An upstream of the 2026-07-28 revision behind a real provider, where every person has an account of their own. */
export interface ProtectedUpstream {
  provider: AuthorizationServer;
  upstream: ModernUpstream;
  /** For `POSTERN_OUTBOUND_ALLOW`. */
  allow: string[];
  close(): Promise<void>;
}

export async function startProtectedUpstream(
  options: AuthorizationServerOptions = {},
  protection: Partial<Extract<Protection, { kind: "oauth" }>> = {},
): Promise<ProtectedUpstream> {
  const provider = await startAuthorizationServer(options);
  const upstream = await startModernUpstream({ protection: { ...protection, kind: "oauth", provider } });
  return {
    provider,
    upstream,
    allow: [new URL(provider.issuer).host, new URL(upstream.url).host],
    close: async () => {
      await upstream.close();
      await provider.close();
    },
  };
}

/** Both upstreams of the main job. */
export interface Peers extends ProtectedUpstream {
  everything: EverythingUpstream;
}

export async function startPeers(): Promise<Peers> {
  const everything = await startEverythingUpstream();
  const guarded = await startProtectedUpstream();
  return {
    ...guarded,
    everything,
    allow: [...guarded.allow, new URL(everything.url).host],
    close: async () => {
      await guarded.close();
      await everything.close();
    },
  };
}
