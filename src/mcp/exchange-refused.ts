import type { Upstream } from "../upstreams/index.ts";
import type { Client } from "./era.ts";
import { type Reply, type ServerInfo, toolFailure } from "./reply.ts";

/**
 * The answer where a caller's own token is exchanged and could not be: what to do, and no link, because there is nothing that
 * a page of ours could mend. `reason`: what the vault said; anything else means that the upstream refused what was given.
 */
export function exchangeRefused(
  client: Client,
  self: ServerInfo,
  { id, name }: Pick<Upstream, "id" | "name">,
  reason: string,
): Reply {
  const code = isWord(reason) ? reason : "exchanged_token_rejected";
  const message = sentences[code].replaceAll("{name}", () => name);
  const required = { kind: "token_exchange", code, mcp_client_id: id, mcp_client_name: name, message };
  return { ...toolFailure(client, self, message, { mcp_auth_required: required }), required };
}

const sentences = {
  caller_token_required:
    "{name} is called with your own sign-in at your identity provider. Call this gateway with a token of that provider; a key or another token cannot be used for it.",
  token_exchange_refused:
    "Your identity provider gave no token for {name} in exchange for yours. Sign in there again; if that does not help, ask an administrator whether you may use {name}.",
  interaction_required:
    "Your identity provider wants you to sign in there once more, or to agree to something, before it gives a token for {name}. Do that with the client that you sign in with, then repeat the call.",
  exchanged_token_rejected:
    "{name} did not accept the token that your identity provider gave for yours. An administrator must look at what both are set up for.",
} as const;

function isWord(reason: string): reason is keyof typeof sentences {
  return Object.hasOwn(sentences, reason);
}
