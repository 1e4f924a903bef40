import { createHash } from "node:crypto";
import { Browser } from "../peers/browser.ts";
import type { Contract, Operation } from "./document.ts";
import {
  cookieOf,
  form,
  type Household,
  headerName,
  headerValue,
  memberEmail,
  password,
  signIn,
} from "./household.ts";
import { TOO_LARGE } from "./inputs.ts";
import { type Answered, jsonOf, type Sent } from "./wire.ts";

export type Ask = (
  operation: Operation,
  what: string,
  sent: Omit<Sent, "method">,
  wanted?: number,
) => Promise<Answered>;

// biome-ignore lint/suspicious/noExplicitAny: the document says what it is
type Body = any;

interface Call {
  /** For `{…}` in the path. */
  id?: string;
  query?: Record<string, string>;
  json?: unknown;
  form?: Record<string, string>;
  headers?: Record<string, string>;
  status?: number;
  declares?: number;
}

/** One call of each operation that does what it is for, in the order in which they build on one another. */
export class Successes {
  readonly #house: Household;
  readonly #contract: Contract;
  readonly #ask: Ask;

  constructor(house: Household, contract: Contract, ask: Ask) {
    this.#house = house;
    this.#contract = contract;
    this.#ask = ask;
  }

  async all(): Promise<void> {
    await this.#people();
    await this.#account();
    await this.#machines();
    await this.#directory();
    await this.#management();
    await this.#upstreams();
    await this.#mcp();
    const flow = await this.#headerLink();
    await this.#connectLink();
    await this.#ownConnections();
    await this.#consents();
    await this.#devices();
    await this.#sessions(flow);
    await this.#deletions();
    await this.#signOut();
  }

  /** Calls an operation as whoever `headers` say; the administrator's token unless told. */
  async #do(operationId: string, call: Call = {}): Promise<Answered> {
    const operation = this.#contract.operations.find((one) => one.operationId === operationId);
    if (!operation) throw new Error(`there is no operation ${operationId}`);
    const query = call.query ? `?${new URLSearchParams(call.query)}` : "";
    const as = call.headers ?? this.#house.callers.admin;
    const { headers = {}, body } = call.form ? form(call.form) : jsonOf(call.json);
    const target = operation.path.replaceAll(/\{\w+\}/g, call.id ?? "missing") + query;
    const sent = {
      target,
      headers: { ...headers, ...as, ...(call.declares ? { "content-type": "application/json" } : {}) },
      body,
      declares: call.declares,
    };
    const wanted = call.status ?? Number(Object.keys(operation.responses)[0]);
    return this.#ask(operation, "as it is meant", sent, wanted);
  }

  async #json(operationId: string, call: Call = {}): Promise<Body> {
    const { status, text } = await this.#do(operationId, call);
    if (status >= 400) throw new Error(`${operationId}: ${status} ${text}`);
    return JSON.parse(text);
  }

  async #people(): Promise<void> {
    const sameSite = { "sec-fetch-site": "same-origin" };
    await this.#do("login", { json: { email: memberEmail, password }, headers: sameSite });
    await this.#do("signInForm", {
      form: { email: memberEmail, password, return_to: "/" },
      headers: sameSite,
      status: 303,
    });
    await this.#do("signInForm", {
      form: { email: memberEmail, password: "wrong" },
      headers: sameSite,
      status: 303,
    });
    const { user, setup } = await this.#json("createUser", {
      json: { email: "third@example.com", name: "Third" },
    });
    await this.#do("getUser", { id: user.id });
    await this.#do("updateUser", { id: user.id, json: { name: "Somebody" } });
    await this.#groups(user.id);
    await this.#password(new URL(setup.url).searchParams.get("token")!);
    await this.#do("createRecoveryLink", { id: user.id });
    await this.#do("endSessionsOfUser", { id: user.id });
    await this.#do("deleteUser", { id: user.id });
  }

  async #groups(userId: string): Promise<void> {
    const { group } = await this.#json("createGroup", { json: { name: "Engineering" } });
    const { id } = group;
    const members = { user_ids: [userId] };
    await this.#do("addMembers", { id, json: members });
    await this.#do("replaceMembers", { id, json: members });
    await this.#do("listMembers", { id });
    await this.#do("updateGroup", { id, json: { mcp_configs: [{ mcp_client_name: "plain" }] } });
    await this.#do("getGroup", { id });
    await this.#do("listGroups");
    await this.#do("getUserAccess", { id: userId });
    await this.#do("listIdentitiesOfUser", { id: userId });
    await this.#do("deleteGroup", { id });
  }

  /** The account page of somebody who has just signed in, at a host name, for which there are passkeys. */
  async #account(): Promise<void> {
    const { url, wire } = this.#house;
    const host = new URL(url).host.replace("127.0.0.1", "localhost");
    const named = { host, "sec-fetch-site": "same-origin" };
    const headers = { ...named, ...(await signIn(wire, memberEmail)) };
    await this.#do("accountPage", { headers, status: 200 });
    await this.#do("newPasskey", { form: { name: "phone" }, headers, status: 200 });
    await this.#do("beginCodes", { form: {}, headers, status: 303 });
    await this.#do("codeSetupPage", { headers, status: 200 });
    await this.#do("listOwnSessions", { headers });
    await this.#do("passkeySignIn", { form: {}, headers: named, status: 200 });
    const wrong = { form: { credential: "{}" }, headers: named, status: 303 };
    await this.#do("passkeySignInAnswer", wrong);
  }

  async #machines(): Promise<void> {
    const json = { name: "nightly" };
    const { service_account } = await this.#json("createServiceAccount", { json });
    const { id } = service_account;
    await this.#do("createServiceAccount", { json, status: 409 });
    await this.#do("listServiceAccounts");
    await this.#do("getServiceAccount", { id });
    await this.#do("updateServiceAccount", { id, json: { is_active: false } });
    await this.#do("deleteServiceAccount", { id, status: 204 });
  }

  async #password(token: string): Promise<void> {
    const opened = await this.#do("passwordPage", { query: { token }, headers: {}, status: 303 });
    const headers = { cookie: cookieOf(opened), "sec-fetch-site": "same-origin" };
    await this.#do("passwordPage", { headers, status: 200 });
    await this.#do("passwordForm", { form: { password: "a password of some length" }, headers, status: 303 });
  }

  async #directory(): Promise<void> {
    for (const name of ["ServiceProviderConfig", "ResourceTypes", "Schemas"])
      await this.#do(`scim${name}`, { headers: {} });
    await this.#do("scimResourceTypesOne", { id: "User", headers: {} });
    await this.#do("scimSchemasOne", { id: "urn:ietf:params:scim:schemas:core:2.0:User", headers: {} });
    const user = { userName: "fourth@example.com", name: { givenName: "Fourth" } };
    const { id } = await this.#json("createScimUser", { json: user });
    await this.#do("listScimUsers", { query: { filter: 'userName eq "fourth@example.com"' } });
    await this.#do("getScimUser", { id });
    const headers = { ...this.#house.callers.admin, "if-none-match": "*" };
    await this.#do("getScimUser", { id, headers, status: 304 });
    await this.#do("replaceScimUser", { id, json: { ...user, title: "Chief" } });
    const off = { Operations: [{ op: "replace", path: "active", value: false }] };
    await this.#do("patchScimUser", { id, json: off });
    const group = await this.#json("createScimGroup", { json: { displayName: "Crew" } });
    await this.#do("listScimGroups");
    await this.#do("getScimGroup", { id: group.id });
    await this.#do("replaceScimGroup", {
      id: group.id,
      json: { displayName: "Crew", members: [{ value: id }] },
    });
    await this.#do("patchScimGroup", {
      id: group.id,
      json: { Operations: [{ op: "remove", path: "members" }] },
      status: 204,
    });
    await this.#do("deleteScimGroup", { id: group.id, status: 204 });
    await this.#do("deleteScimUser", { id, status: 204 });
  }

  async #management(): Promise<void> {
    const { upstreams, keys } = this.#house;
    await this.#do("getVirtualKey", { id: keys.second.id });
    await this.#do("updateVirtualKey", { id: keys.second.id, json: { description: "changed" } });
    await this.#do("rotateVirtualKey", { id: keys.second.id, json: {} });
    const tools = [{ mcp_client_id: upstreams.plain, tools_to_execute: ["*"] }];
    const json = { slug: "desk", name: "desk", tools, virtual_key_ids: [keys.first.id] };
    const { virtual_mcp } = await this.#json("createVirtualMcp", { json });
    await this.#do("getVirtualMcp", { id: virtual_mcp.id });
    await this.#do("updateVirtualMcp", { id: virtual_mcp.id, json: { description: "changed" } });
    const client = { client_name: "static", redirect_uris: ["https://client.example/cb"] };
    const { client_id } = await this.#json("createOAuthClient", { json: client, status: 201 });
    await this.#do("listOAuthClients");
    await this.#do("deleteOAuthClient", { id: client_id, status: 204 });
  }

  async #upstreams(): Promise<void> {
    const { upstreams, plainUrl } = this.#house;
    const body = { name: "made", connection_string: plainUrl, tools_to_execute: ["*"] };
    const { mcp_client_id } = await this.#json("createMcpClient", { json: body });
    await this.#do("updateMcpClient", { id: mcp_client_id, json: { disabled: true } });
    await this.#do("deleteMcpClient", { id: mcp_client_id });
    for (const id of [upstreams.plain, upstreams.fixed, upstreams.values]) {
      await this.#do("reconnectMcpClient", { id });
      await this.#do("refreshMcpClientTools", { id });
    }
    const { held_hash } = await this.#json("listToolChanges", { id: upstreams.plain });
    for (const decision of ["approveToolChanges", "rejectToolChanges"]) {
      await this.#do(decision, { id: upstreams.plain, json: { all: held_hash } });
      await this.#do(decision, { id: upstreams.plain, json: { hashes: ["0".repeat(64)] }, status: 409 });
    }
    await this.#do("initiateMcpClientVerification", { id: upstreams.values });
    const values = { headers: { [headerName]: headerValue } };
    await this.#do("verifyMcpClientHeaders", { id: upstreams.values, json: values });
    await this.#do("verifyMcpClientHeaders", {
      id: upstreams.values,
      json: { headers: { [headerName]: "no" } },
      status: 422,
    });
    await this.#do("refreshMcpClientTools", { id: upstreams.tokens, status: 409 });
    await this.#do("getOAuthConfigStatus", { id: upstreams.configId });
    await this.#do("getOAuthConfig", { id: upstreams.configId });
    await this.#do("getClientDocument", { id: `${upstreams.tokens}.json`, headers: {} });
    await this.#do("reregisterMcpClient", { id: upstreams.tokens });
    const asked = await this.#json("reauthorizeMcpClient", { id: upstreams.tokens });
    const id = new URL(asked.authorize_url).searchParams.get("flow")!;
    await this.#do("getConnectFlow", { id });
    await this.#do("startConnectFlow", { id, headers: this.#house.callers.person });
  }

  async #mcp(): Promise<void> {
    const { key } = this.#house.callers;
    const headers = { ...key, accept: "application/json, text/event-stream" };
    const params = {
      protocolVersion: "2025-11-25",
      capabilities: {},
      clientInfo: { name: "contract", version: "1" },
    };
    const initialize = { jsonrpc: "2.0", id: 1, method: "initialize", params };
    for (const [operationId, id] of [["mcpPost"], ["mcpSlugPost", "desk"]] as const) {
      await this.#do(operationId, { id, json: initialize, headers });
      await this.#do(operationId, {
        id,
        json: { jsonrpc: "2.0", method: "notifications/initialized" },
        headers,
        status: 202,
      });
      await this.#do(operationId, { id, json: { jsonrpc: "2.0", id: 2, method: "tools/list" }, headers });
      await this.#do(operationId, { id, json: [initialize], headers, status: 400 });
      await this.#do(operationId, {
        id,
        json: { jsonrpc: "2.0", id: 3, method: "ping" },
        headers: { ...headers, accept: "text/html" },
        status: 406,
      });
      await this.#do(operationId, { id, declares: TOO_LARGE, headers, status: 413 });
    }
    await this.#do("mcpSlugPost", { id: "nothing-here", json: initialize, headers, status: 404 });
    const call = { id: "call_1", type: "function", function: { name: "plain-echo", arguments: "{}" } };
    await this.#do("executeTool", { json: call, headers: key });
    const asked = { type: "function_call", call_id: "call_1", name: "plain-echo", arguments: "{}" };
    await this.#do("executeTool", { json: asked, query: { format: "responses" }, headers: key });
  }

  /** A call that needs its person gives the link; its values are submitted, refused ones first. */
  async #headerLink(): Promise<string> {
    const { key } = this.#house.callers;
    const params = { name: "values-whoami", arguments: {} };
    const headers = { ...key, accept: "application/json" };
    const { result } = await this.#json("mcpPost", {
      json: { jsonrpc: "2.0", id: 4, method: "tools/call", params },
      headers,
    });
    const id = result._meta.mcp_auth_required.session_id;
    await this.#do("getHeaderFlow", { id, headers: key });
    await this.#do("submitHeaders", {
      id,
      json: { headers: { [headerName]: "no" } },
      headers: key,
      status: 422,
    });
    await this.#do("submitHeaders", { id, json: { headers: { [headerName]: headerValue } }, headers: key });
    await this.#do("submitHeaders", {
      id,
      json: { headers: { [headerName]: headerValue } },
      headers: key,
      status: 410,
    });
    return id;
  }

  /** The page behind a link, by the administrator to whom it belongs, and the way to the provider. */
  async #connectLink(): Promise<void> {
    const { upstreams, callers } = this.#house;
    const asked = await this.#json("reauthorizeMcpClient", { id: upstreams.tokens });
    const flow = new URL(asked.authorize_url).searchParams.get("flow")!;
    const headers = callers.person;
    await this.#do("connectPage", { query: { flow }, headers });
    await this.#do("connectCodePage", { query: { flow }, headers, status: 200 });
    await this.#do("connectCodeStart", { form: { flow }, headers, status: 303 });
    await this.#do("pasteAddressPage", { headers });
    await this.#do("pasteAddress", { form: { address: "none of ours" }, headers, status: 303 });
    const left = await this.#do("connectContinue", { form: { flow }, headers, status: 303 });
    const browser = new Browser();
    try {
      const back = await browser.get(left.headers.location!, { stopAt: this.#house.url });
      const url = back.stoppedAt ?? back.url;
      const query = Object.fromEntries(new URL(url).searchParams);
      const cookie = `${callers.person.cookie}; ${cookieOf(left)}`;
      await this.#do("oauthCallback", { id: upstreams.tokens, query, headers: { cookie }, status: 303 });
    } finally {
      await browser.close();
    }
    await this.#do("completeMcpClientOAuth", { id: upstreams.configId });
    await this.#do("refreshMcpClientTools", { id: upstreams.tokens });
  }

  async #consents(): Promise<void> {
    const { callers, keys, upstreams } = this.#house;
    const redirectUri = "http://127.0.0.1/callback";
    const registration = { client_name: "A client", redirect_uris: [redirectUri] };
    const { client_id } = await this.#json("registerClient", {
      json: registration,
      headers: {},
      status: 201,
    });
    const verifier = "v".repeat(64);
    const open = async () => {
      const query = {
        client_id,
        redirect_uri: redirectUri,
        response_type: "code",
        code_challenge: createHash("sha256").update(verifier).digest("base64url"),
        code_challenge_method: "S256",
        state: "state",
      };
      const answer = await this.#do("authorize", { query, headers: {}, status: 302 });
      const flow_id = new URL(answer.headers.location!, this.#house.url).searchParams.get("flow_id")!;
      return { flow_id, headers: { cookie: cookieOf(answer), "sec-fetch-site": "same-origin" } };
    };

    const denied = await open();
    await this.#do("consentDeny", {
      form: { flow_id: denied.flow_id },
      headers: denied.headers,
      status: 302,
    });
    await this.#do("consentDeny", {
      form: { flow_id: denied.flow_id },
      headers: denied.headers,
      status: 409,
    });

    const other = await open();
    await this.#do("consentNotYou", {
      form: { flow_id: other.flow_id },
      headers: other.headers,
      status: 303,
    });

    const person = await open();
    const both = { ...person.headers, cookie: `${person.headers.cookie}; ${callers.member.cookie}` };
    const form = { flow_id: person.flow_id };
    await this.#do("consentAsUser", {
      form: { ...form, user_id: "user_member" },
      headers: both,
      status: 303,
    });
    await this.#do("consentWithoutIdentity", { form, headers: both, status: 303 });
    await this.#do("consentSubmit", { form, headers: callers.member, status: 403 });

    const { flow_id, headers } = await open();
    await this.#do("consentPage", { query: { flow_id }, headers });
    await this.#do("consentServicesPage", { query: { flow_id }, headers, status: 303 });
    await this.#do("consentSubmit", { form: { flow_id }, headers, status: 303 });
    await this.#do("consentWithKey", { form: { flow_id, vk: "sk-bf-wrong" }, headers, status: 303 });
    await this.#do("consentWithKey", { form: { flow_id, vk: keys.first.value }, headers, status: 303 });
    await this.#do("consentServicesPage", { query: { flow_id }, headers });
    const values = { flow_id, mcp_client_id: upstreams.values };
    await this.#do("consentHeadersPage", { query: values, headers });
    await this.#do("consentHeadersSubmit", {
      form: { ...values, [headerName]: headerValue },
      headers,
      status: 303,
    });
    await this.#do("consentConnectCode", {
      query: { flow_id, mcp_client_id: upstreams.tokens },
      headers,
      status: 303,
    });
    const left = await this.#do("consentConnect", {
      query: { flow_id, mcp_client_id: upstreams.tokens },
      headers,
      status: 302,
    });
    const state = new URL(left.headers.location!).searchParams.get("state")!;
    const iss = new URL(left.headers.location!).origin;
    const back = { cookie: `${headers.cookie}; ${cookieOf(left)}` };
    const refusal = { state, iss, error: "access_denied" };
    await this.#do("oauthCallback", { id: upstreams.tokens, query: refusal, headers: back, status: 303 });
    const submitted = await this.#do("consentSubmit", { form: { flow_id }, headers, status: 302 });
    await this.#do("consentSubmit", { form: { flow_id }, headers, status: 409 });
    const code = new URL(submitted.headers.location!).searchParams.get("code")!;
    await this.#tokens({ client_id, code, verifier, redirectUri });
  }

  /** A person's own page. */
  async #ownConnections(): Promise<void> {
    const { callers, upstreams } = this.#house;
    const headers = callers.person;
    await this.#do("connectionsPage", { headers });
    await this.#do("connectOwnAccount", { form: { service: upstreams.tokens }, headers, status: 303 });
    await this.#do("endAllAppsPage", { headers });
    await this.#do("endAllApps", { form: {}, headers, status: 303 });
  }

  /** What has no browser, and its person. */
  async #devices(): Promise<void> {
    const grant = "urn:ietf:params:oauth:grant-type:device_code";
    const { keys } = this.#house;
    const registration = { client_name: "Terminal", grant_types: [grant] };
    const registering = { json: registration, headers: {}, status: 201 };
    const { client_id } = await this.#json("registerClient", registering);
    const headers = { "sec-fetch-site": "same-origin" };
    const begin = async () => {
      const codes = await this.#json("deviceAuthorization", { form: { client_id }, headers: {} });
      return { form: { user_code: codes.user_code as string }, code: codes.device_code as string };
    };
    const consent = async (form: { user_code: string }) => {
      const begun = await this.#do("allowDevice", { form, headers, status: 302 });
      const flow_id = new URL(begun.headers.location!, this.#house.url).searchParams.get("flow_id")!;
      return { form: { flow_id }, headers: { ...headers, cookie: cookieOf(begun) } };
    };
    const wrong = { form: { user_code: "BBBB-BBBB" }, headers, status: 303 };
    for (const operationId of ["showDevice", "allowDevice", "refuseDevice"])
      await this.#do(operationId, wrong);
    await this.#do("devicePage", { headers: {} });
    await this.#do("clientCodePage", { headers: {} });
    const refused = await begin();
    await this.#do("refuseDevice", { form: refused.form, headers, status: 200 });
    await this.#do("consentDeny", { ...(await consent((await begin()).form)), status: 200 });
    const { form, code } = await begin();
    await this.#do("showDevice", { form, headers, status: 200 });
    const person = await consent(form);
    const withKey = { ...person.form, vk: keys.first.value };
    await this.#do("consentWithKey", { form: withKey, headers: person.headers, status: 303 });
    await this.#do("consentSubmit", { ...person, status: 200 });
    await this.#do("token", { form: { grant_type: grant, client_id, device_code: code }, headers: {} });
  }

  async #tokens(at: {
    client_id: string;
    code: string;
    verifier: string;
    redirectUri: string;
  }): Promise<void> {
    const { client_id, code, verifier: code_verifier, redirectUri: redirect_uri } = at;
    const grant = { grant_type: "authorization_code", client_id, code, code_verifier, redirect_uri };
    const first = await this.#json("token", { form: grant, headers: {} });
    const refresh = { grant_type: "refresh_token", client_id, refresh_token: first.refresh_token };
    const second = await this.#json("token", { form: refresh, headers: {} });
    await this.#do("token", { form: { ...refresh, client_id: "unknown" }, headers: {}, status: 401 });
    const bearer = { authorization: `Bearer ${second.access_token}` };
    await this.#do("listMcpSessions", { headers: bearer, status: 401 });
    await this.#do("mcpPost", { json: { jsonrpc: "2.0", id: 5, method: "ping" }, headers: bearer });
    const { sessions } = await this.#json("listGrants", { headers: this.#house.callers.key });
    await this.#do("revokeToken", { form: { client_id, token: second.access_token }, headers: {} });
    await this.#do("revokeGrant", { id: sessions[0].id, status: 204 });
    await this.#do("revokeGrants", { json: { client_id: sessions[0].client_id } });
  }

  async #sessions(flow: string): Promise<void> {
    const { key } = this.#house.callers;
    await this.#do("getHeaderFlow", { id: flow, headers: key, status: 410 });
    const { sessions } = await this.#json("listMcpSessions", { query: { kind: "header" }, headers: key });
    const { id } = sessions[0];
    await this.#do("reauthMcpSession", { id, headers: key });
    await this.#do("updateMcpSession", { id, json: { account: "main" }, headers: key });
    const another = { mcp_client_id: this.#house.upstreams.values, account: "work" };
    await this.#do("connectMcpSession", { json: another, headers: key });
    await this.#do("reauthMcpSession", { id });
    const { sessions: all } = await this.#json("listMcpSessions");
    if (all.length === 0) throw new Error("the administrator sees no session");
    await this.#do("deleteHeaderCredential", { id, headers: key, status: 204 });
    await this.#do("deleteMcpSession", { id, headers: key, status: 404 });
    const { result } = await this.#json("mcpPost", {
      json: { jsonrpc: "2.0", id: 6, method: "tools/call", params: { name: "values-whoami", arguments: {} } },
      headers: { ...key, accept: "application/json" },
    });
    await this.#do("deleteMcpSession", {
      id: result._meta.mcp_auth_required.session_id,
      headers: key,
      status: 204,
    });
    await this.#do("revokeMcpSessions", {
      json: { virtual_key_id: this.#house.keys.first.id },
      headers: key,
    });
    await this.#do("revokeMcpSessions", {
      json: { virtual_key_id: this.#house.keys.second.id },
      headers: key,
      status: 403,
    });
  }

  async #deletions(): Promise<void> {
    const { virtual_mcps } = await this.#json("listVirtualMcps");
    for (const { id } of virtual_mcps) await this.#do("deleteVirtualMcp", { id });
    await this.#do("deleteVirtualKey", { id: this.#house.keys.second.id });
    const { upstreams } = this.#house;
    await this.#do("deleteMcpClient", { id: upstreams.fixed });
  }

  async #signOut(): Promise<void> {
    const { wire } = this.#house;
    const first = await signIn(wire, memberEmail);
    await this.#do("logout", { headers: first, status: 204 });
    const second = await signIn(wire, memberEmail);
    await this.#do("signOutForm", { headers: second, status: 303 });
  }
}
