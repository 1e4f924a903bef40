import type { Audit } from "../audit/index.ts";
import { type Owner, Problem, type Settings } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { actorOf, type Principal } from "../identity/index.ts";
import { checkDefinition, type DefinitionBody, type DefinitionPatch } from "./definition.ts";
import type { UpstreamOAuth } from "./oauth.ts";
import { type HeaderVerifier, type Sample, verifySample } from "./sample-headers.ts";
import type { ToolLists } from "./tool-lists.ts";
import type { Upstream } from "./upstream.ts";
import type { Also, Upstreams } from "./upstreams.ts";
import { type KeyConfigView, time } from "./view.ts";

/** Which virtual keys may use an upstream; access/ has them, app.ts hands this over. */
export interface KeyConfigs {
  read(upstreamIds: readonly string[]): Promise<ReadonlyMap<string, KeyConfigView[]>>;
  replace(tx: Tx, upstreamId: string, configs: NonNullable<DefinitionBody["vk_configs"]>): Promise<void>;
}

/** A page of ours where an administrator connects the account that lists the tools. `expiresAt` in milliseconds. */
export interface DiscoveryFlow {
  flowId: string;
  url: string;
  expiresAt: number;
}

export interface AdministrationParts {
  settings: Settings;
  upstreams: Upstreams;
  oauth: UpstreamOAuth;
  tools: ToolLists;
  audit: Audit;
  keyConfigs: KeyConfigs;
  /** Ids of the upstreams that a caller who is no administrator may use. */
  visible(caller: Principal): Promise<ReadonlySet<string>>;
  startDiscoveryFlow(upstream: Upstream): Promise<DiscoveryFlow>;
  verifyHeaders: HeaderVerifier;
  /** Keeps verified sample values as the credential that lists the tools, in the transaction of the create. */
  keepSample(tx: Tx, upstream: Upstream, headers: Sample["headers"]): Promise<void>;
  /** `undefined`: none. */
  credentialStatus(owner: Owner, upstreamId: string): Promise<string | undefined>;
}

/** What an administrator does with upstreams, apart from reading. */
export class Administration {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  /** Creates one and says what comes next. With OAuth, discovery and registration happen before anything is stored. */
  async create(body: DefinitionBody, caller: Principal, requestId: string) {
    const { upstreams, oauth, tools, keyConfigs } = this.#parts;
    const definition = checkDefinition(body);
    if (upstreams.findByName(definition.name)) {
      throw new Problem(
        "conflict",
        "name_taken",
        "Another MCP client has this name. Choose a different one.",
        {
          param: "name",
        },
      );
    }
    const id = upstreams.newId();
    const isPending = definition.oauth !== undefined && !definition.disabled;
    const found = isPending ? await oauth.examine({ ...definition, id }) : undefined;
    const { settings, verifyHeaders, keepSample } = this.#parts;
    const sample = await verifySample(verifyHeaders, settings, { ...definition, id }, body.user_headers);
    const also: Also = async (tx, upstream) => {
      if (sample) await keepSample(tx, upstream, sample.headers);
      if (body.vk_configs) await keyConfigs.replace(tx, upstream.id, body.vk_configs);
      await this.#audit(tx, "upstream.created", caller, requestId, upstream);
    };
    const upstream = await upstreams.create(definition, "api", { id, found, also });
    if (isPending) return this.#pending(upstream);
    if (sample) await upstreams.recordTools(upstream.id, sample.tools);
    else void tools.refresh(upstream.id);
    return success(created(upstream, sample), upstream);
  }

  async update(id: string, patch: DefinitionPatch, caller: Principal, requestId: string) {
    const { upstreams, tools, keyConfigs } = this.#parts;
    const { vk_configs, ...changes } = patch;
    const before = upstreams.get(id);
    refuseFileManaged(before);
    const upstream = await upstreams.update(id, changes, async (tx, after) => {
      if (vk_configs) await keyConfigs.replace(tx, id, vk_configs);
      const fields = Object.keys(patch);
      await this.#audit(tx, "upstream.updated", caller, requestId, after, { fields });
    });
    if (upstream.generation !== before.generation || (before.disabled && !upstream.disabled))
      void tools.refresh(id);
    return success("The MCP client was changed.", upstream);
  }

  async delete(id: string, caller: Principal, requestId: string) {
    const upstream = this.#parts.upstreams.get(id);
    // One that the file still names would come back at the next start.
    if (!upstream.disabled) refuseFileManaged(upstream);
    await this.#parts.upstreams.delete(id, (tx, gone) =>
      this.#audit(tx, "upstream.deleted", caller, requestId, gone),
    );
    return success("The MCP client and every credential for it were deleted.", upstream);
  }

  /** Discovery anew, then the tool list; without an account to read it with, asks for one. */
  async reconnect(id: string) {
    const { upstreams, oauth } = this.#parts;
    const upstream = upstreams.get(id);
    refuseDisabled(upstream);
    if (upstream.oauth) await oauth.renew(upstream);
    if (upstream.perUser && !(await this.#isConnected(upstream))) return this.#pending(upstream);
    return this.#readTools(upstream, "The MCP client answers.");
  }

  async refreshTools(id: string) {
    const upstream = this.#parts.upstreams.get(id);
    refuseDisabled(upstream);
    if (upstream.perUser && !(await this.#isConnected(upstream)))
      throw upstream.oauth ? accountMissing() : valuesMissing();
    return this.#readTools(upstream, "The tool list was read.");
  }

  /** The administrator comes back from connecting the account that lists the tools. */
  async completeOAuth(configId: string) {
    const upstream = this.#byConfig(configId);
    refuseDisabled(upstream);
    if (!(await this.#isConnected(upstream))) throw accountMissing();
    return this.#readTools(upstream, "The account is connected and the tool list was read.");
  }

  async oauthStatus(configId: string) {
    const upstream = this.#byConfig(configId);
    const status = await this.#parts.credentialStatus(discoveryOwner(upstream), upstream.id);
    const recorded = await this.#parts.oauth.recorded(upstream);
    return {
      id: configId,
      mcp_client_id: upstream.id,
      status: status === undefined ? "pending" : status === "active" ? "authorized" : status,
      redirect_uri: upstream.redirectUri,
      ...(recorded
        ? { issuer: recorded.issuer, client_id: recorded.client.client_id, scopes: recorded.scopes }
        : {}),
    };
  }

  async #readTools(upstream: Upstream, message: string) {
    const { upstreams, tools } = this.#parts;
    await tools.refresh(upstream.id, upstream.perUser ? discoveryOwner(upstream) : undefined);
    const after = upstreams.get(upstream.id);
    const failure = after.lastFailure;
    if (failure) throw new Problem("upstream", failure.code, failure.message);
    return { ...success(message, after), tools: after.tools.length };
  }

  async #pending(upstream: Upstream) {
    const { settings } = this.#parts;
    const flow = await this.#parts.startDiscoveryFlow(upstream);
    if (!upstream.oauth) return valuesPending(upstream, flow);
    const at = (path: string) => new URL(path, settings.baseUrl).href;
    const configId = upstream.oauthConfigId!;
    return {
      status: "pending_oauth",
      message:
        "Connect an account once, so that the tool list can be read. Each person connects their own later.",
      oauth_config_id: configId,
      authorize_url: flow.url,
      expires_at: time(flow.expiresAt),
      mcp_client_id: upstream.id,
      complete_url: at(`/api/mcp/client/${configId}/complete-oauth`),
      status_url: at(`/api/oauth/config/${configId}/status`),
      next_steps: [
        "Open authorize_url in a browser and connect an account.",
        "Then POST to complete_url; status_url tells how far it is.",
      ],
    };
  }

  async #isConnected(upstream: Upstream): Promise<boolean> {
    return (await this.#parts.credentialStatus(discoveryOwner(upstream), upstream.id)) === "active";
  }

  #byConfig(configId: string): Upstream {
    const upstream = this.#parts.upstreams.all().find((candidate) => candidate.oauthConfigId === configId);
    if (upstream) return upstream;
    throw new Problem(
      "not_found",
      "oauth_config_not_found",
      "There is no such OAuth configuration. Check the id.",
    );
  }

  #audit(
    tx: Tx,
    event: string,
    caller: Principal,
    requestId: string,
    upstream: Upstream,
    detail = {},
  ): Promise<void> {
    return this.#parts.audit.append(tx, {
      event,
      actor: actorOf(caller),
      upstreamId: upstream.id,
      requestId,
      detail: { name: upstream.name, ...detail },
    });
  }
}

/** Whose credential lists the tools of a per-person upstream: an administrator's, for nothing else. */
export function discoveryOwner(upstream: { id: string }): Owner {
  return { mode: "discovery", id: upstream.id };
}

function success(message: string, upstream: Upstream) {
  return { status: "success", message, mcp_client_id: upstream.id };
}

function created(upstream: Upstream, sample: Sample | undefined): string {
  if (sample) return "The MCP client was created. It accepted the sample values and its tools were read.";
  if (upstream.perUser) {
    return "The MCP client was created. Its tools are read as soon as somebody's header values are known.";
  }
  return "The MCP client was created. Its tools are being read.";
}

function valuesPending(upstream: Upstream, { url, expiresAt }: DiscoveryFlow) {
  return {
    status: "pending_verification",
    message:
      "Submit header values once, so that the tool list can be read. Each person submits their own later.",
    mcp_client_id: upstream.id,
    submit_url: url,
    expires_at: time(expiresAt),
    required_header_keys: [...upstream.perUserHeaderKeys],
    next_steps: [
      "Open submit_url in a browser where you are signed in as an administrator and fill in the form.",
    ],
  };
}

function refuseFileManaged(upstream: Upstream): void {
  if (upstream.source !== "file") return;
  throw new Problem(
    "conflict",
    "managed_by_file",
    "This MCP client is declared in the configuration file. Change it there and restart.",
  );
}

function refuseDisabled(upstream: Upstream): void {
  if (!upstream.disabled) return;
  throw new Problem("conflict", "mcp_client_disabled", "This MCP client is disabled. Enable it first.");
}

function accountMissing(): Problem {
  return new Problem(
    "conflict",
    "oauth_pending",
    "No account is connected to read the tool list with. POST to …/reconnect and open the authorize_url it returns.",
  );
}

function valuesMissing(): Problem {
  return new Problem(
    "conflict",
    "headers_pending",
    "No header values are stored to read the tool list with. POST to …/reconnect and open the submit_url it returns.",
  );
}
