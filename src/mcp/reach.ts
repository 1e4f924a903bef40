import type { ClientBehaviours } from "./client-behaviour.ts";
import type { Client } from "./era.ts";

/** In which form a client takes a link to its person: contract section 5, best first. */
export type Reach = "input_required" | "url_error" | "text";

/**
 * The best form this client supports: what it declared, unless it is known to declare and not to show. `connectTool`:
 * whether the person is reached by nothing but words, so that the model needs a tool to ask for the link.
 */
export function reachOf(
  client: Client,
  behaviours: ClientBehaviours,
): { reach: Reach; connectTool: boolean } {
  const behaviour = behaviours.of(client.info);
  const reach = behaviour?.url_elicitation === "dropped" ? "text" : declared(client);
  return { reach, connectTool: reach === "text" || behaviour?.shows_tool_errors === "to_the_model" };
}

function declared({ opensUrls, era, version }: Client): Reach {
  if (!opensUrls) return "text";
  if (era === "modern") return "input_required";
  // -32042 exists in this revision alone (protocol section 1.4).
  return version === "2025-11-25" ? "url_error" : "text";
}
