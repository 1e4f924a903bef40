import { signInOrigins, ssoConfig } from "../../../src/sso/index.ts";
import { Browser, type Page } from "../../peers/browser.ts";
import { claimShapes, type Directory, entraGroup } from "../../peers/claim-shapes.ts";
import { freePort } from "../../peers/free-port.ts";
import { type AuthorizationServer, startAuthorizationServer } from "../../peers/identity-provider.ts";
import type { InteractionMode } from "../../peers/interactions.ts";
import { marked } from "../../support/marked.ts";
import { Management } from "./management.ts";
import type { Stage } from "./stage.ts";

export type Shape = keyof typeof claimShapes;

const clientSecret = marked("what-the-gateway-shows-the-provider");

/** How the guide (docs/guide/single-sign-on.md) says that each kind of provider is entered. */
const entries: Record<Shape, Record<string, unknown>> = {
  keycloak: {
    claims: { groups: "groups", role: "realm_access.roles" },
    groups: { "/company/engineering": "Engineering", "/company/sales": "Sales" },
    roles: { "gateway-admin": "admin" },
  },
  entra: {
    claims: { email: "preferred_username", groups: "groups", role: "roles" },
    groups: { [entraGroup("Engineering")]: "Engineering", [entraGroup("Sales")]: "Sales" },
    roles: { "gateway-admin": "admin" },
    required_claims: { tid: ["9b2e6a1c-0000-4000-8000-000000000001"] },
  },
  okta: { claims: { groups: "groups", role: "groups" }, roles: { "gateway-admin": "admin" } },
  google: { required_claims: { hd: ["example.com"] } },
};

/** A gateway with a real provider for each of these shapes, and the same people at all of them. */
export async function openCompany(stage: Stage, shapes: readonly Shape[], interaction?: InteractionMode) {
  const directory: Directory = new Map([
    ["1001", { name: "Ada", email: "ada@example.com", groups: ["Engineering"], roles: ["gateway-admin"] }],
    ["1002", { name: "Bob", email: "bob@example.com", groups: ["Engineering"], roles: [] }],
  ]);
  // The gateway asks a provider at the first sign-in; so it may start before, and the provider may know its addresses.
  const places = await Promise.all(shapes.map(async (shape) => ({ shape, port: await freePort() })));
  const issuerOf = (port: number) => `http://127.0.0.1:${port}`;
  const gateway = await stage.gateway(
    places.map(({ port }) => new URL(issuerOf(port)).host),
    (config) => {
      config.sso = ssoConfig.parse({
        providers: places.map(({ shape, port }) => ({
          id: shape,
          type: "oidc",
          name: shape,
          issuer: issuerOf(port),
          client_id: "gateway",
          client_secret: clientSecret,
          ...entries[shape],
        })),
      });
      config.settings.signInOrigins = signInOrigins(config.sso);
    },
  );
  const base = gateway.baseUrl;
  const servers = new Map<Shape, AuthorizationServer>();
  for (const { shape, port } of places) {
    const at = `${base}/login/sso/${shape}`;
    const client = {
      client_id: "gateway",
      client_secret: clientSecret,
      redirect_uris: [`${at}/callback`],
      post_logout_redirect_uris: [`${at}/signed-out`],
      backchannel_logout_uri: `${at}/backchannel-logout`,
      backchannel_logout_session_required: true,
    };
    const people = claimShapes[shape](directory);
    servers.set(
      shape,
      stage.keep(await startAuthorizationServer({ port, people, clients: [client], interaction })),
    );
  }
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const browser = () => stage.keep(new Browser());
  /** Presses the provider's button on the sign-in page; whoever `id` is signs in there. */
  const signIn = async (tab: Browser, shape: Shape, id: string): Promise<Page> => {
    servers.get(shape)!.accountForNextLogin = id;
    await tab.get(`${base}/login?return_to=%2Faccount%2Fidentities`);
    return tab.submitForm((form) => form.action.endsWith(`/login/sso/${shape}`));
  };
  const people = async () =>
    (await admin.expect(200, "GET", "/api/users")).users as Record<string, unknown>[];
  const groupsOf = async (name: string) => {
    const { groups } = await admin.expect(200, "GET", `/api/groups?search=${name}`);
    const members = await admin.expect(200, "GET", `/api/groups/${groups[0].id}/members`);
    return members.members.map((member: { name: string }) => member.name);
  };
  return { gateway, base, admin, directory, browser, signIn, people, groupsOf };
}
