import { z } from "zod";
import { type Log, Problem } from "../base/index.ts";
import { ID_JAG_TYPE, readAssertion, refusedAssertion } from "./assertion.ts";
import type { ProvedClient } from "./client-authentication.ts";
import type { Clients } from "./clients.ts";
import { DEVICE_GRANT, JWT_BEARER_GRANT, TOKEN_EXCHANGE_GRANT } from "./grant-names.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import { redeemCode } from "./redeem-code.ts";
import { redeemDeviceCode } from "./redeem-device-code.ts";
import { redeemIdJag } from "./redeem-id-jag.ts";
import { redeemWorkload } from "./redeem-workload.ts";
import { refreshGrant } from "./refresh-grant.ts";
import type { Refused } from "./refusal.ts";
import { ownResource } from "./resource.ts";
import type { TokenAnswer } from "./tokens.ts";

/** RFC 6749 §3.2: a parameter without a value counts as omitted. */
export const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined);

export const clientFields = { client_id: optional, client_secret: optional };
export const tokenForm = z.object({
  ...clientFields,
  grant_type: optional,
  code: optional,
  code_verifier: optional,
  redirect_uri: optional,
  refresh_token: optional,
  device_code: optional,
  assertion: optional,
  subject_token: optional,
  subject_token_type: optional,
  requested_token_type: optional,
  actor_token: optional,
  audience: optional,
  scope: optional,
  resource: optional,
});
type TokenForm = z.output<typeof tokenForm>;

type Answer = Promise<TokenAnswer | Refused>;

/** What to do with a well-formed request, and who has to be proved before. */
export type Presentation =
  | {
      client: "required";
      /** A client document's client may come before anybody approved it. */
      documents?: boolean;
      present(client: ProvedClient): Answer;
    }
  /** What is presented says who it is; a client that comes with a secret has to prove it all the same (RFC 7521 §4.1). */
  | { client: "optional"; present(): Answer };

export interface TokenParts {
  parts: IssuerParts;
  clients: Clients;
  grants: Grants;
}

export interface TokenRequest {
  request: Request;
  form: TokenForm;
  requestId: string;
  log: Log;
}

/** Checks the form before anything is spent (TK-01). Throws `invalid_request`, `unsupported_grant_type`. */
export function presentation(with_: TokenParts, token: TokenRequest): Presentation {
  const { parts, grants } = with_;
  const { form, requestId } = token;
  const { resource, scope } = form;
  const { rules, issuers } = parts.machines;
  switch (form.grant_type) {
    case "authorization_code":
      return code(with_, token);
    case "refresh_token": {
      const refreshToken = required(form.refresh_token, "refresh_token");
      const refreshing = { refreshToken, scope, resource, requestId };
      return {
        client: "required",
        present: (client) => refreshGrant(parts, grants, { client, ...refreshing }),
      };
    }
    case DEVICE_GRANT: {
      if (!parts.settings.deviceAuthorization) throw unsupported();
      const deviceCode = required(form.device_code, "device_code");
      const present = (client: ProvedClient) =>
        redeemDeviceCode(parts, grants, { client, deviceCode, resource, requestId });
      return { client: "required", documents: true, present };
    }
    case JWT_BEARER_GRANT:
      if (rules.length + issuers.length === 0) throw unsupported();
      return assertion(with_, token, required(form.assertion, "assertion"));
    case TOKEN_EXCHANGE_GRANT:
      if (rules.length === 0) throw unsupported();
      return exchange(with_, token);
    case undefined:
      throw malformed("grant_type");
    default:
      throw unsupported();
  }
}

function code({ parts, grants }: TokenParts, { form, requestId }: TokenRequest): Presentation {
  const given = required(form.code, "code");
  const verifier = required(form.code_verifier, "code_verifier");
  // RFC 7636 §4.1.
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) throw malformed("code_verifier");
  const { redirect_uri: redirectUri, resource } = form;
  const presented = { code: given, verifier, redirectUri, resource, requestId };
  return { client: "required", present: (client) => redeemCode(parts, grants, { client, ...presented }) };
}

/** A person's assertion and a workload's are told apart by `typ`, before anything else of them is looked at (RFC 8725 §3.11). */
function assertion(with_: TokenParts, token: TokenRequest, text: string): Presentation {
  const { parts, clients, grants } = with_;
  const { form, requestId, log } = token;
  const presented = readAssertion(text);
  if (presented?.type !== ID_JAG_TYPE) return workload(with_, token, text);
  const { resource } = form;
  return {
    client: "required",
    documents: true,
    present: (client) => redeemIdJag(parts, clients, grants, { client, presented, resource, requestId, log }),
  };
}

function workload({ parts, grants }: TokenParts, token: TokenRequest, text: string): Presentation {
  const { request, form, requestId, log } = token;
  // No web page is a workload, and none may try a token it came by.
  if (request.headers.has("origin"))
    throw new Problem(
      "invalid",
      "invalid_request",
      "Workloads ask for tokens themselves, not from a web page.",
    );
  const presented = readAssertion(text);
  if (!presented) throw refusedAssertion(log, "no_jws", undefined);
  const { resource } = form;
  return {
    client: "optional",
    present: () => redeemWorkload(parts, grants, { presented, resource, requestId, log }),
  };
}

const TOKEN_TYPE = "urn:ietf:params:oauth:token-type:";
const SUBJECT_TYPES = [`${TOKEN_TYPE}jwt`, `${TOKEN_TYPE}id_token`];
const ACCESS_TOKEN = `${TOKEN_TYPE}access_token`;

/** RFC 8693 §2.1, as far as workloads need it: impersonation of the identity that the rule names, never delegation. */
function exchange(with_: TokenParts, token: TokenRequest): Presentation {
  const { form } = token;
  const { settings } = with_.parts;
  const subjectToken = required(form.subject_token, "subject_token");
  if (!SUBJECT_TYPES.includes(required(form.subject_token_type, "subject_token_type")))
    throw malformed("subject_token_type");
  if (form.actor_token !== undefined) throw malformed("actor_token");
  if (form.requested_token_type !== undefined && form.requested_token_type !== ACCESS_TOKEN)
    throw malformed("requested_token_type");
  const { audience } = form;
  if (audience !== undefined && audience !== settings.baseUrl.origin && !ownResource(audience, settings))
    throw new Problem("invalid", "invalid_target", "audience must be this gateway.", { param: "audience" });
  const inner = workload(with_, token, subjectToken);
  if (inner.client !== "optional") return inner;
  const present = async (): Answer => {
    const answer = await inner.present();
    return "error" in answer ? answer : { ...answer, issued_token_type: ACCESS_TOKEN };
  };
  return { client: "optional", present };
}

export function required(value: string | undefined, param: string): string {
  if (value === undefined) throw malformed(param);
  return value;
}

function malformed(param: string): Problem {
  return new Problem("invalid", "invalid_request", `${param} is missing or malformed.`, { param });
}

function unsupported(): Problem {
  return new Problem(
    "invalid",
    "unsupported_grant_type",
    "This gateway has no such grant. Its metadata lists in grant_types_supported which it has.",
    { param: "grant_type" },
  );
}
