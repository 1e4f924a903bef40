import { type Log, Problem, SealFault } from "../base/index.ts";
import { envelope, oauthError, scimError } from "./envelope.ts";
import { problemPage } from "./page.ts";
import type { ErrorStyle } from "./route.ts";

/** A refusal as the envelope. What is not a `Problem` is a bug: logged whole, told as a generic 500. */
export function refused(error: unknown, requestId: string, log: Log): Response {
  return envelope(explain(error, log), requestId);
}

/** Translates anything thrown into the words of the route. What is not a `Problem` is a bug: logged whole, told as a generic 500. */
export async function refuse(
  error: unknown,
  style: ErrorStyle,
  request: Request,
  requestId: string,
  log: Log,
): Promise<Response> {
  const problem = explain(error, log);
  switch (style) {
    case "oauth":
      return oauthError(problem);
    case "scim":
      return scimError(problem);
    case "page":
      return problemPage(problem, requestId);
    case "form":
      return prefersHtml(request) ? problemPage(problem, requestId) : envelope(problem, requestId);
    case "envelope":
      return envelope(problem, requestId);
  }
}

function explain(error: unknown, log: Log): Problem {
  const problem = error instanceof Problem ? error : bug(error, log);
  if (problem.status < 500)
    log.debug("request.refused", { ...problem.log, code: problem.code, status: problem.status });
  else if (error instanceof Problem)
    log.warn("request.failed", {
      ...problem.log,
      code: problem.code,
      status: problem.status,
      error: problem.cause,
    });
  return problem;
}

function bug(error: unknown, log: Log): Problem {
  log.error(error instanceof SealFault ? "seal.failed" : "request.crashed", { error });
  return new Problem(
    "internal",
    "internal_error",
    "Something went wrong on our side; nothing was changed. Try again, and quote this reference if it stays.",
  );
}

/** Whether HTML comes before JSON in `Accept`, as it does from browsers. */
export function prefersHtml(request: Request): boolean {
  const accept = request.headers.get("accept") ?? "";
  const html = accept.indexOf("text/html");
  const json = accept.indexOf("application/json");
  return html >= 0 && (json < 0 || html < json);
}
