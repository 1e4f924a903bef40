import type { JsonObject } from "../base/index.ts";
import type { Round } from "./ask-user.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import { code, Refusal } from "./refusal.ts";
import type { RequestStates } from "./request-state.ts";
import { digestFor, type ToolCall } from "./tool-call.ts";

/** The parameters under the upstream's own tool name; what belongs to our own question is taken out. */
export function upstreamParams(
  states: RequestStates,
  call: ToolCall,
  target: Target,
  args: JsonObject | undefined,
): { params: JsonObject; round?: Round } {
  const { caller, params, client, answered } = call;
  const { tool, sent: rename } = target;
  const sent: JsonObject = rename ? rename(params) : { ...params, name: tool };
  if (answered) {
    const { rounds: _, ...round } = answered;
    return { params: { ...sent, ...round } };
  }
  if (client.era === "legacy" || (params.requestState === undefined && params.inputResponses === undefined)) {
    return { params: sent };
  }
  const responses = isObject(params.inputResponses) ? params.inputResponses : undefined;
  if (params.inputResponses !== undefined && !responses) {
    throw new Refusal(code.invalidParams, 'Send "inputResponses" as an object.');
  }
  if (params.requestState === undefined) return { params: sent };
  const state = states.open(caller, digestFor(call, target, args), params.requestState);
  delete sent.requestState;
  if (state.upstream !== undefined) return { params: { ...sent, requestState: state.upstream } };
  if (state.answers === "upstream") return { params: sent };
  delete sent.inputResponses;
  return { params: sent, round: { response: responses?.auth, waited: state.waited ?? 0 } };
}
