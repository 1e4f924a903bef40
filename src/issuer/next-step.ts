import type { ConsentError } from "./consent-errors.ts";
import type { Choice, ConsentData } from "./consent-flow.ts";
import type { SignedIn } from "./parts.ts";

export type Step = { page: "identity"; error: ConsentError } | { page: "services"; choice: Choice };

/** Where a consent stands: every page, Connect and submit ask here, and nowhere else. Pure. */
export function nextStep(
  flow: Pick<ConsentData, "choice">,
  session: SignedIn | undefined,
  settings: { enforceAuthOnInference: boolean },
): Step {
  const { choice } = flow;
  if (choice === undefined) return { page: "identity", error: "identity_required" };
  switch (choice.by) {
    case "login":
      if (session === undefined) return { page: "identity", error: "sign_in_first" };
      if (session.userId !== choice.userId) return { page: "identity", error: "other_account" };
      break;
    case "skip":
      if (settings.enforceAuthOnInference) return { page: "identity", error: "skip_not_allowed" };
      break;
    case "key":
      break;
  }
  return { page: "services", choice };
}
