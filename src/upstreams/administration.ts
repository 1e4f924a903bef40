import { Problem } from "../base/index.ts";
import { type AdministrationParts, type Asked, auditUpstream, whenMoved } from "./administration-parts.ts";
import { accountMissing } from "./consents.ts";
import type { Definition, DefinitionBody, DefinitionPatch } from "./definition.ts";
import { isConnected, pending, readTools, refuseDisabled, success } from "./pending.ts";
import { type Sample, verifySample } from "./sample-headers.ts";
import { obtainsOwnToken, type Upstream } from "./upstream.ts";
import type { Also } from "./upstreams.ts";

/** What an administrator does with upstreams, apart from reading. */
export class Administration {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  /** Creates one and says what comes next. With OAuth, discovery and registration happen before anything is stored. */
  async create(body: DefinitionBody, asked: Asked) {
    const { upstreams, oauth, tools, keyConfigs, keepSample } = this.#parts;
    const definition = upstreams.check(body);
    if (upstreams.findByName(definition.name)) throw nameTaken();
    const id = upstreams.newId();
    const isOAuth = definition.oauth !== undefined && !definition.disabled;
    const found = isOAuth ? await oauth.examine({ ...definition, id }) : undefined;
    const sample = await this.#sample(id, definition, body.user_headers);
    const also: Also = async (tx, upstream) => {
      if (sample) await keepSample(tx, upstream, sample.headers);
      if (body.vk_configs) await keyConfigs.replace(tx, upstream.id, body.vk_configs);
      await auditUpstream(this.#parts, tx, "upstream.created", asked, upstream);
    };
    const upstream = await upstreams.create(definition, "api", { id, found, also });
    if (isOAuth && !obtainsOwnToken(upstream)) return pending(this.#parts, upstream);
    if (sample) await upstreams.recordTools(upstream.id, sample.tools);
    else void tools.refresh(upstream.id);
    return success(created(upstream, sample), upstream);
  }

  async update(id: string, patch: DefinitionPatch, asked: Asked) {
    const { upstreams, tools, keyConfigs } = this.#parts;
    const { vk_configs, ...changes } = patch;
    const before = upstreams.get(id);
    refuseFileManaged(before);
    const upstream = await upstreams.update(id, changes, async (tx, after) => {
      if (vk_configs) await keyConfigs.replace(tx, id, vk_configs);
      const fields = Object.keys(patch);
      await auditUpstream(this.#parts, tx, "upstream.updated", asked, after, { fields });
    });
    const isOther =
      upstream.generation !== before.generation || upstream.oauthVersion !== before.oauthVersion;
    if (isOther || (before.disabled && !upstream.disabled)) void tools.refresh(id);
    return success("The MCP client was changed.", upstream);
  }

  async delete(id: string, asked: Asked) {
    const upstream = this.#parts.upstreams.get(id);
    // One that the file still names would come back at the next start.
    if (!upstream.disabled) refuseFileManaged(upstream);
    await this.#parts.upstreams.delete(id, (tx, gone) =>
      auditUpstream(this.#parts, tx, "upstream.deleted", asked, gone),
    );
    return success("The MCP client and every credential for it were deleted.", upstream);
  }

  /** Discovery anew, then the tool list; without an account to read it with, asks for one. */
  async reconnect(id: string, asked: Asked) {
    const { upstreams, oauth } = this.#parts;
    const upstream = upstreams.get(id);
    refuseDisabled(upstream);
    if (upstream.oauth) await oauth.renew(upstream, whenMoved(this.#parts, upstream, asked));
    if (upstream.exchanged) return success(readLater, upstream);
    if (!(await isConnected(this.#parts, upstream))) return pending(this.#parts, upstream);
    return readTools(this.#parts, upstream, "The MCP client answers.");
  }

  async refreshTools(id: string) {
    const upstream = this.#parts.upstreams.get(id);
    refuseDisabled(upstream);
    if (!(await isConnected(this.#parts, upstream)))
      throw upstream.oauth ? accountMissing() : valuesMissing();
    return readTools(this.#parts, upstream, "The tool list was read.");
  }

  async #sample(
    id: string,
    definition: Definition,
    given: DefinitionBody["user_headers"],
  ): Promise<Sample | undefined> {
    if (given === undefined || definition.perUserHeaderKeys.length === 0) return undefined;
    const { settings, verifyHeaders } = this.#parts;
    const timeoutMs = definition.timeoutMs ?? settings.toolTimeoutMs;
    const target = { ...definition, id, perUser: true, generation: 0, timeoutMs };
    return verifySample(verifyHeaders, target, given, "user_headers");
  }
}

const readLater = "Its tools are read with the token of the first caller who lists them.";

function created(upstream: Upstream, sample: Sample | undefined): string {
  if (sample) return "The MCP client was created. It accepted the sample values and its tools were read.";
  if (upstream.exchanged) return `The MCP client was created. ${readLater}`;
  if (upstream.perUser) {
    return "The MCP client was created. Its tools are read as soon as somebody's header values are known.";
  }
  if (obtainsOwnToken(upstream)) {
    return "The MCP client was created. Its token is being obtained and its tools read; state and last_failure say how that went.";
  }
  return "The MCP client was created. Its tools are being read.";
}

function nameTaken(): Problem {
  const message = "Another MCP client has this name. Choose a different one.";
  return new Problem("conflict", "name_taken", message, { param: "name" });
}

function refuseFileManaged(upstream: Upstream): void {
  if (upstream.source !== "file") return;
  throw new Problem(
    "conflict",
    "managed_by_file",
    "This MCP client is declared in the configuration file. Change it there and restart.",
  );
}

function valuesMissing(): Problem {
  return new Problem(
    "conflict",
    "headers_pending",
    "No header values are stored to read the tool list with. POST to …/reconnect and open the submit_url it returns.",
  );
}
