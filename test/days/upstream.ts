import type { Management } from "../journeys/steps/management.ts";
import type { Administrator } from "../journeys/steps/person.ts";
import type { SimulatedService } from "./service.ts";

/** Makes a service an upstream of a gateway, with its tools known. Resolves with its id. */
export async function addUpstream(
  admin: Management,
  operator: Administrator,
  service: SimulatedService,
): Promise<string> {
  service.account = "operator";
  const pending = await admin.createUpstream({
    name: service.shape.name,
    connection_string: service.url,
    auth_type: "per_user_oauth",
  });
  await operator.connect(pending.authorize_url);
  await admin.expect(200, "POST", new URL(pending.complete_url, "http://x").pathname);
  await admin.refreshTools(pending.mcp_client_id);
  return pending.mcp_client_id;
}
