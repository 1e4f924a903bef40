import { Problem } from "../base/index.ts";

/** An absolute http(s) address without anything that is not part of it. Throws 400. */
export function checkUrl(text: string | undefined, param: string): URL {
  if (text === undefined)
    throw invalid("invalid_request", `${param} is missing. Give the http(s) address.`, param);
  const parsed = URL.parse(text);
  if (!parsed || (parsed.protocol !== "https:" && parsed.protocol !== "http:")) {
    throw invalid("invalid_url", "Give an absolute http or https address.", param);
  }
  if (parsed.username !== "" || parsed.password !== "" || text.includes("#")) {
    throw invalid("invalid_url", "Leave out the user name, the password and the #fragment.", param);
  }
  return parsed;
}

/** A field of a definition that cannot be used as it is. */
export function invalid(code: string, message: string, param: string): Problem {
  return new Problem("invalid", code, message, { param });
}

/** A member of `oauth_config` that is of no use here. */
export function misplaced(what: string, where: string, field: string): Problem {
  return invalid(
    "unsupported_field",
    `${what} goes with ${where} only. Leave it out.`,
    `oauth_config.${field}`,
  );
}
