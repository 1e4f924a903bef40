import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { type AuthorizingProxy, startAuthorizingProxy } from "./authorizing-proxy.ts";
import { type FixtureUpstream, startFixtureUpstream } from "./fixture-upstream.ts";

/** What the server scenarios run against. */
export interface Target {
  url: string;
  close(): Promise<void>;
}

export type UpstreamEra = "modern" | "legacy";

/** The fixture alone: what fails here is the fixture's fault. */
export async function fixtureTarget(eras: UpstreamEra | "both" = "both"): Promise<Target> {
  const fixture = await startFixtureUpstream({ eras });
  return { url: fixture.url, close: () => fixture.close() };
}

/**
 * The gateway in front of a fixture that speaks one era, with authentication on. A virtual key is put on every request; the
 * address is a virtual MCP with plain names, because the suite's names are literal.
 */
export async function gatewayTarget(upstreamEra: UpstreamEra): Promise<Target> {
  const fixture = await startFixtureUpstream({ eras: upstreamEra });
  const proxy = await startAuthorizingProxy();
  const gateway = await startGateway({
    outboundAllow: [new URL(fixture.url).host],
    configure: ({ settings }) => {
      settings.aliases = [proxy.origin];
    },
  });
  const key = await furnish(gateway, fixture);
  proxy.point(Number(new URL(gateway.url).port), `Bearer ${key}`);
  return { url: `${proxy.origin}/mcp/conformance`, close: () => closeAll(proxy, gateway, fixture) };
}

async function closeAll(
  proxy: AuthorizingProxy,
  gateway: RunningGateway,
  fixture: FixtureUpstream,
): Promise<void> {
  await proxy.close();
  await gateway.stop();
  await fixture.close();
}

/** The upstream, a key and the virtual MCP; resolves with the key's value. */
async function furnish({ admin }: RunningGateway, fixture: FixtureUpstream): Promise<string> {
  const { mcp_client_id } = await admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", {
    name: "fixture",
    connection_type: "http",
    connection_string: fixture.url,
    auth_type: "none",
    tools_to_execute: ["*"],
    // The suite makes its server change its tools.
    tool_pins: "accept",
    allow_on_all_virtual_keys: true,
  });
  await admin("POST", `/api/mcp/client/${mcp_client_id}/refresh-tools`);
  const { virtual_key } = await admin<{ virtual_key: { id: string; value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    { name: "suite" },
  );
  await admin("POST", "/api/mcp/virtual-mcps", {
    slug: "conformance",
    name: "Conformance",
    names: "plain",
    tools: [{ mcp_client_id }],
    virtual_key_ids: [virtual_key.id],
  });
  return virtual_key.value;
}
