import type { Json, JsonObject } from "../base/index.ts";
import type { TokenRules } from "./profile.ts";

/** A token endpoint's answer in the members of RFC 6749 §5, and the account it is of where the profile knows where that stands. */
export interface PlainTokenAnswer {
  body: JsonObject;
  account?: string;
}

const MAX_ACCOUNT = 255;

/** Brings an answer into the form of RFC 6749 §5.1 or §5.2. It is still the provider's word: nothing is checked here. */
export function plainTokenAnswer(rules: TokenRules | undefined, answer: JsonObject): PlainTokenAnswer {
  if (!rules) return { body: answer };
  const error = errorOf(rules, answer);
  if (error !== undefined) return { body: { error } };
  const nested = rules.at === undefined ? undefined : objectOf(answer[rules.at]);
  const token = nested?.access_token === undefined ? answer : nested;
  const { scope, token_type } = token;
  const isBearer = typeof token_type === "string" && rules.bearer_types?.includes(token_type);
  const body: JsonObject = { ...token, ...(isBearer ? { token_type: "bearer" } : {}) };
  if (answer.id_token !== undefined) body.id_token = answer.id_token;
  if (rules.scope_separator && typeof scope === "string")
    body.scope = scope.split(rules.scope_separator).join(" ");
  return { body, account: accountOf(rules, answer) };
}

/** The error word; a failure that has none, or none that is a word, is one that may pass. */
function errorOf(rules: TokenRules, answer: JsonObject): string | undefined {
  const { success, error_member: member, errors } = rules;
  const failed = success !== undefined && answer[success.member] !== success.is;
  const own = member !== undefined && answer.access_token === undefined ? answer[member] : undefined;
  if (!failed && answer.error === undefined && own === undefined) return undefined;
  const word = own ?? answer.error;
  return typeof word === "string" ? (errors?.[word] ?? word) : "server_error";
}

function accountOf({ account }: TokenRules, answer: JsonObject): string | undefined {
  const parts = account?.map((path) => {
    let value: Json | undefined = answer;
    for (const member of path) value = objectOf(value)?.[member];
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
  });
  if (!parts || parts.includes(undefined)) return undefined;
  const joined = parts.join("/");
  return joined.length <= MAX_ACCOUNT ? joined : undefined;
}

function objectOf(value: Json | undefined): JsonObject | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}
