import { Problem } from "../base/index.ts";

/** Why the token endpoint gives no tokens, where that is an answer to be expected. */
export type Refused = {
  error:
    | "invalid_grant"
    | "invalid_scope"
    | "invalid_target"
    | "authorization_pending"
    | "slow_down"
    | "access_denied"
    | "expired_token";
};

/** One sentence per word: unknown, expired, used and foreign look the same (TK-16). */
export function refusal({ error }: Refused): Problem {
  switch (error) {
    case "invalid_grant":
      return new Problem("invalid", error, "The code or token is not valid. Start the authorization again.");
    case "invalid_scope":
      return new Problem("invalid", error, "A refresh cannot ask for more than was granted.", {
        param: "scope",
      });
    case "invalid_target":
      return new Problem("invalid", error, "resource is not the one that was granted.", {
        param: "resource",
      });
    // RFC 8628 §3.5.
    case "authorization_pending":
      return new Problem("invalid", error, "The person has not answered yet. Ask again after the interval.");
    case "slow_down":
      return new Problem("invalid", error, "Ask less often: wait five seconds longer from now on.");
    case "access_denied":
      return new Problem("invalid", error, "The person refused. Ask again only if they want it.");
    case "expired_token":
      return new Problem("invalid", error, "Nobody allowed this device in time. Start again for new codes.");
  }
}
