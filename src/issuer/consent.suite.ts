import { addKey, addUpstream, connectDuring, type Gateway, startConsent } from "./issuer.suite.ts";

export const SUBMIT = "/api/oauth/per-user/consent/submit";
export const DENY = "/api/oauth/per-user/consent/deny";
export const KEY = "/api/oauth/per-user/consent/vk";
export const USER = "/api/oauth/per-user/consent/user-id";
export const SKIP = "/api/oauth/per-user/consent/skip";
export const MINUTE = 60_000;

/** A consent with an identity and one connected service, one click before its end. */
export async function ready(gateway: Gateway) {
  const upstream = await addUpstream(gateway);
  const key = await addKey(gateway);
  const started = await startConsent(gateway);
  await started.tab.post(KEY, { flow_id: started.flowId, vk: key.value });
  await connectDuring(gateway, started.flowId, upstream.id);
  return { ...started, key, upstream, submit: () => started.tab.post(SUBMIT, { flow_id: started.flowId }) };
}

export const owners = (gateway: Gateway) =>
  gateway.database.db.selectFrom("credentials").select(["owner_mode", "owner_id"]).execute();
