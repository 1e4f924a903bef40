import type { Rules } from "../access/index.ts";
import type { JsonObject } from "../base/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { ToolCalls } from "./call-tool.ts";
import type { Target } from "./catalog.ts";
import type { Client } from "./era.ts";
import { type Filters, readFilters } from "./filters.ts";
import type { Offer, Offers } from "./offers.ts";
import type { McpParts } from "./parts.ts";
import type { PlainNames } from "./plain-names.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type Reply, type ServerInfo } from "./reply.ts";
import { selfAt } from "./self.ts";
import type { ToolCall } from "./tool-call.ts";

export const featureMethods = ["prompts/get", "resources/read", "completion/complete"] as const;
export type FeatureMethod = (typeof featureMethods)[number];

export function isFeatureMethod(method: string): method is FeatureMethod {
  return featureMethods.some((one) => one === method);
}

/** One request of a proved caller. */
export interface FeatureCall extends ToolCall {
  method: FeatureMethod;
}

interface View {
  offer: Offer;
  filters: Filters;
  rules: Rules;
}

/** Requests for prompts, resources and completions: finds whose they are; what follows is the way of a tool call. */
export class FeatureCalls {
  readonly #parts: Pick<McpParts, "access" | "audit">;
  readonly #offers: Offers;
  readonly #calls: ToolCalls;
  readonly #self: ServerInfo;
  readonly #plain: PlainNames;

  constructor(parts: McpParts, offers: Offers, calls: ToolCalls, self: ServerInfo, plain: PlainNames) {
    this.#parts = parts;
    this.#offers = offers;
    this.#calls = calls;
    this.#self = self;
    this.#plain = plain;
  }

  /** Throws `Refusal`, and `Problem` when the caller has too many requests under way. */
  async call(call: FeatureCall): Promise<Reply> {
    const rules = await this.#parts.access.rulesFor(call.caller);
    const view: View = { rules, offer: this.#offers.of(rules), filters: readFilters(call.headers) };
    switch (call.method) {
      case "prompts/get":
        return await this.#getPrompt(call, view);
      case "resources/read":
        return await this.#readResource(call, view);
      case "completion/complete":
        return await this.#complete(call, view);
    }
  }

  #getPrompt(call: FeatureCall, { offer, filters, rules }: View): Promise<Reply> {
    const name = this.#plain.full(call.caller, textIn(call.params, "name"));
    const prompt = offer.prompts.get(name);
    if (!prompt || !filters.allow(prompt)) throw this.#unknown(call, name, "prompt");
    const args = isObject(call.params.arguments) ? call.params.arguments : undefined;
    const target = targetOf(call, name, prompt.upstream, prompt.own);
    return this.#calls.carry(call, target, args, rules);
  }

  #readResource(call: FeatureCall, { offer, filters, rules }: View): Promise<Reply> {
    const uri = textIn(call.params, "uri");
    const found = offer.names.find(uri);
    if (!found || !filters.allowUpstream(found.upstream)) throw this.#unknown(call, uri, "resource");
    const { upstream, own } = found;
    const target = targetOf(call, uri, upstream, own);
    target.sent = (params) => ({ ...params, uri: own });
    target.received = (result) => {
      const contents = Array.isArray(result.contents) ? result.contents : [];
      // The part that was asked for comes back under the URI it was asked by.
      const named = contents.map((part) =>
        isObject(part) && typeof part.uri === "string"
          ? { ...part, uri: part.uri === own ? uri : offer.names.nameOf(upstream, part.uri) }
          : part,
      );
      return { ...result, contents: named, ...caching(call.client, result) };
    };
    return this.#calls.carry(call, target, undefined, rules);
  }

  async #complete(call: FeatureCall, view: View): Promise<Reply> {
    const { ref } = call.params;
    if (!isObject(ref)) throw new Refusal(code.invalidParams, 'Send "ref" as an object.', { status: 200 });
    const target = this.#completed(call, ref, view);
    // Nothing is proposed where the server proposes nothing; it is not asked.
    const asked = target.upstream.features?.capabilities.completions !== undefined;
    const reply = asked ? await this.#calls.carry(call, target, undefined, view.rules) : undefined;
    // One of 2024-11-05 could not say beforehand whether it does.
    if (reply && !("error" in reply && reply.error.code === code.methodNotFound)) return reply;
    const result = { completion: { values: [], total: 0, hasMore: false } };
    return { result: complete(call.client, selfAt(this.#self, call.caller), result) };
  }

  #completed(call: FeatureCall, ref: JsonObject, { offer, filters }: View): Target {
    if (ref.type === "ref/prompt") {
      const name = this.#plain.full(call.caller, textIn(ref, "name"));
      const prompt = offer.prompts.get(name);
      if (!prompt || !filters.allow(prompt)) throw this.#unknown(call, name, "prompt");
      const target = targetOf(call, name, prompt.upstream, prompt.own);
      target.sent = (params) => ({ ...params, ref: { ...ref, name: prompt.own } });
      return target;
    }
    const uri = textIn(ref, "uri");
    const found = offer.names.findTemplate(uri) ?? offer.names.find(uri);
    if (!found || !filters.allowUpstream(found.upstream)) throw this.#unknown(call, uri, "resource");
    const target = targetOf(call, uri, found.upstream, found.own);
    target.sent = (params) => ({ ...params, ref: { ...ref, uri: found.own } });
    return target;
  }

  /** ID-30: what is not allowed looks like what does not exist. */
  #unknown(
    { caller, client, requestId, method }: FeatureCall,
    name: string,
    what: "prompt" | "resource",
  ): Refusal {
    const { actor, owner } = caller;
    const detail = { method, target: name.slice(0, 256) };
    this.#parts.audit.note({ event: "call.denied", actor, owner, requestId, detail });
    const message = `Unknown ${what}. List the ${what}s to see what there is.`;
    if (what === "prompt") return new Refusal(code.invalidParams, message, { status: 200 });
    const missing = client.era === "legacy" ? code.resourceNotFound : code.invalidParams;
    return new Refusal(missing, message, { status: 200, data: { uri: name.slice(0, 1024) } });
  }
}

/** `name`: as the client calls it; with the method, so that a state of one is none of another. */
function targetOf({ method }: FeatureCall, name: string, upstream: Upstream, own: string): Target {
  return { name: `${method} ${name}`, upstream, tool: own, paramHeaders: [], method };
}

function textIn(params: JsonObject, member: string): string {
  const value = params[member];
  if (typeof value === "string") return value;
  throw new Refusal(code.invalidParams, `Send "${member}" as a string.`, { status: 200 });
}

/** 2026-07-28 "Caching": required of this result; what one caller may read is never public (MC-17). */
function caching({ era }: Client, { ttlMs }: JsonObject): JsonObject {
  if (era === "legacy") return {};
  const fresh = typeof ttlMs === "number" && Number.isSafeInteger(ttlMs) && ttlMs >= 0 ? ttlMs : 0;
  return { ttlMs: fresh, cacheScope: "private" };
}
