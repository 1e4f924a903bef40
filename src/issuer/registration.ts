import { z } from "zod";
import { Problem, type Seal, SealFault, type Settings, type World } from "../base/index.ts";
import { json, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { registeredClient } from "./answers.ts";
import { shownName } from "./client-name.ts";
import { isCodePage } from "./code-page.ts";
import { DEVICE_GRANT } from "./grant-names.ts";
import { paths } from "./paths.ts";
import { redirectUriFault } from "./redirect-uri.ts";

const PREFIX = "pstc_";
const MAX_CLIENT_ID = 2048;
const MAX_NAME = 10_000;
const CONTEXT = ["client_id"] as const;

/** What a self-registered client is: sealed into its `client_id`, stored nowhere (contract section 4). */
export interface Registration {
  name: string;
  redirectUris: string[];
  /** Milliseconds since 1970. */
  registeredAt: number;
}

/** Whether a `client_id` has the shape of a registration of ours. */
export function isRegistrationId(clientId: string): boolean {
  return clientId.startsWith(PREFIX) && clientId.length <= MAX_CLIENT_ID && /^[A-Za-z0-9_-]+$/.test(clientId);
}

/** Reads a `client_id` back; undefined when we did not make it, or its key is gone. */
export function openRegistration(seal: Seal, clientId: string): Registration | undefined {
  if (!isRegistrationId(clientId)) return undefined;
  try {
    const text = seal.openText(Buffer.from(clientId.slice(PREFIX.length), "base64url"), CONTEXT);
    const [name, registeredAt, ...redirectUris] = JSON.parse(text);
    return { name, registeredAt, redirectUris };
  } catch (error) {
    if (error instanceof SealFault) return undefined;
    throw error;
  }
}

export function sealRegistration(seal: Seal, { name, registeredAt, redirectUris }: Registration): string {
  const sealed = seal.seal(JSON.stringify([name, registeredAt, ...redirectUris]), CONTEXT);
  const clientId = PREFIX + sealed.toString("base64url");
  if (clientId.length > MAX_CLIENT_ID) {
    throw invalidMetadata(
      "The redirect URIs are too long together. Register fewer or shorter ones.",
      "redirect_uris",
    );
  }
  return clientId;
}

/** RFC 7591 §2. What is not named here is ignored: nothing of it is fetched, trusted or shown (RG-04, RG-06). */
const metadata = z.looseObject({
  redirect_uris: z.unknown().optional(),
  client_name: z.unknown().optional(),
  grant_types: z.unknown().optional(),
});

/** RFC 7591 §3: open, stateless, and rate limited by address. */
export function registrationRoute(parts: { seal: Seal; settings: Settings; world: World }): Route {
  return route({
    method: "POST",
    path: paths.register,
    operationId: "registerClient",
    summary: "Dynamic client registration (RFC 7591)",
    tag: "authorization",
    access: "public",
    csrf: "none",
    rate: "register",
    errors: "oauth",
    cors: true,
    json: metadata,
    refuses: [],
    answers: { 201: { description: "Registered", schema: registeredClient } },
    handle: ({ body }) => {
      const forDevice = asksForDevice(body.grant_types, parts.settings);
      const registration = {
        name: nameOf(body.client_name),
        redirectUris: needsNoRedirect(body, forDevice)
          ? []
          : redirectUrisOf(body.redirect_uris, parts.settings),
        registeredAt: parts.world.now().getTime(),
      };
      const clientId = sealRegistration(parts.seal, registration);
      const answer = registered(clientId, registration, parts.settings, forDevice);
      return json(answer, 201, { "cache-control": "no-store" });
    },
  });
}

/** RFC 7591 §3.2.1: what is really registered, whatever was asked. */
function registered(
  clientId: string,
  { name, redirectUris, registeredAt }: Registration,
  settings: Settings,
  forDevice: boolean,
) {
  const hasRedirect = redirectUris.length > 0;
  return {
    client_id: clientId,
    client_id_issued_at: Math.floor(registeredAt / 1000),
    client_name: name,
    redirect_uris: redirectUris,
    grant_types: [
      ...(hasRedirect ? ["authorization_code"] : []),
      ...(forDevice ? [DEVICE_GRANT] : []),
      ...(settings.grantMaxMs > 0 ? ["refresh_token"] : []),
    ],
    response_types: hasRedirect ? ["code"] : [],
    token_endpoint_auth_method: "none",
  };
}

/** Every client may use the device grant, where it is on; this one says that it will. */
export function asksForDevice(grantTypes: unknown, settings: Pick<Settings, "deviceAuthorization">): boolean {
  return settings.deviceAuthorization && Array.isArray(grantTypes) && grantTypes.includes(DEVICE_GRANT);
}

/** RFC 7591 §2: redirect URIs are for flows with redirects; without `grant_types` that is what a client wants. */
function needsNoRedirect(
  body: { redirect_uris?: unknown; grant_types?: unknown },
  forDevice: boolean,
): boolean {
  const { redirect_uris: uris, grant_types: grants } = body;
  const none = uris === undefined || (Array.isArray(uris) && uris.length === 0);
  return none && forDevice && !(grants as unknown[]).includes("authorization_code");
}

function nameOf(value: unknown): string {
  if (value === undefined) return "Unnamed client";
  if (typeof value !== "string" || value.length > MAX_NAME) {
    throw invalidMetadata("client_name must be a text of ordinary length.", "client_name");
  }
  return shownName(value) || "Unnamed client";
}

/** Checks a list of redirect URIs as a whole: one bad entry refuses it (RG-01). */
export function redirectUrisOf(value: unknown, settings: Settings): string[] {
  if (!Array.isArray(value) || value.length === 0 || !value.every((entry) => typeof entry === "string")) {
    throw invalidRedirect("redirect_uris must be a list of one or more URIs.");
  }
  for (const uri of value) {
    const fault = redirectUriFault(uri, settings);
    if (fault !== undefined) throw invalidRedirect(fault);
    if (isCodePage(uri, settings))
      throw invalidRedirect("Only clients that an administrator registers are answered on this page.");
  }
  return [...new Set<string>(value)];
}

function invalidRedirect(message: string): Problem {
  return new Problem("invalid", "invalid_redirect_uri", message, { param: "redirect_uris" });
}

function invalidMetadata(message: string, param: string): Problem {
  return new Problem("invalid", "invalid_client_metadata", message, { param });
}
