import { newId, newSecret } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { cookie, cookieName, redirect } from "../http/index.ts";
import { CONSENT_MS, type ConsentData } from "./consent-flow.ts";
import type { IssuerParts } from "./parts.ts";
import { consentPath } from "./paths.ts";

type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "hash" | "settings">;

/** A consent begins, in this browser: its flow, its cookie, and the way to its first page. `state`: for the client, sealed. */
export async function startConsent(
  parts: Parts,
  data: ConsentData,
  { state, ttlMs = CONSENT_MS, tx }: { state?: string; ttlMs?: number; tx?: Tx } = {},
): Promise<Response> {
  const id = newId(parts.world, "flow");
  const cookieValue = newSecret(parts.world);
  await parts.flows.start(tx ?? parts.database.db, {
    kind: "consent",
    id,
    browserHash: parts.hash.of("flow_cookie", cookieValue),
    data,
    secret: state === undefined ? undefined : { state },
    ttlMs,
  });
  const name = cookieName("flow", parts.settings, id);
  return redirect(consentPath("consent", id), 302, [cookie(name, cookieValue, ttlMs / 1000, parts.settings)]);
}
