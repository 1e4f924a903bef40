import type { Route } from "../../src/http/index.ts";
import type { Caller } from "./callers.ts";
import type { Verdict } from "./expectation.ts";

export interface Exception {
  who(caller: Caller): boolean;
  answer: Verdict;
  /** Stands in docs/guide/permissions.md. */
  why: string;
  /** What a request must have to get so far; else nothing that could be a body is sent. */
  body?: unknown;
}

const ofKey = ({ proof }: Caller) => proof === "virtual_key";
const ofAdminKey = {
  who: ofKey,
  answer: 403,
  why: "A virtual key is no person: it has no audit lines and no tokens of its own.",
} as const;
const isNoMaker = ({ proof }: Caller) =>
  ofKey({ proof } as Caller) || proof === "api_token" || proof === "jwt";

/** Where the work of a route itself says who may, by operationId. Everything else follows from the declarations. */
export const exceptions: Readonly<Record<string, readonly Exception[]>> = {
  listAudit: [ofAdminKey],
  exportAudit: [ofAdminKey],
  listTokens: [ofAdminKey],
  deleteToken: [ofAdminKey],
  createToken: [
    {
      who: isNoMaker,
      answer: 403,
      why: "Tokens are made by a person who is signed in, or with `POSTERN_ADMIN_TOKEN`: one that leaks makes no others.",
      body: { name: "t", scopes: ["read"] },
    },
  ],
};

const ownPage = "A page for who is signed in, of what is theirs; others are sent to sign in.";

/**
 * Routes without a credential of their own whose answer is another for who is signed in, by the beginning of their paths, and
 * why. Everywhere else whoever asks gets what nobody gets. A route that the test cannot place belongs in one of the two lists.
 */
export const pages: Readonly<Record<string, string>> = {
  "/account": ownPage,
  "/connections": ownPage,
};

export function knowsSession({ path, access }: Pick<Route, "path" | "access">): string | undefined {
  if (access !== "public" && access !== "browser") return undefined;
  const beginning = Object.keys(pages).find((one) => path === one || path.startsWith(`${one}/`));
  return beginning && pages[beginning];
}
