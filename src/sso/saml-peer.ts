import type { SAML, SamlConfig } from "@node-saml/node-saml";
import { newId, type Settings, type World } from "../base/index.ts";
import { NAME_ID_FORMATS, type SamlProvider } from "./saml-config.ts";

export interface SamlParts {
  world: World;
  settings: Settings;
}

export interface SamlAddresses {
  /** What we are called. */
  entityId: string;
  /** Where responses are posted to. */
  acs: string;
}

export function samlAddresses(
  { settings }: Pick<SamlParts, "settings">,
  provider: SamlProvider,
): SamlAddresses {
  const at = (leaf: string) => new URL(`/login/sso/${provider.id}/${leaf}`, settings.baseUrl).href;
  return { entityId: provider.spEntityId ?? at("metadata"), acs: at("acs") };
}

/** An ID of a message of ours: an NCName of 128 random bits (Core §1.3.4). It travels through the browser and is no secret. */
export function newRequestId(world: Pick<World, "random">): string {
  return newId(world, "saml");
}

export interface PeerOptions {
  /** The ID that the next message of ours has. */
  id?: string;
  /** The request that a response must answer. */
  answers?: string;
  responseSigned?: boolean;
  /** The person is asked who they are, also where the provider remembers them. */
  again?: boolean;
}

/**
 * The library for one message of one provider. Its clock is ours, and the only request it knows is the one named. Loaded
 * only where somebody signs in by SAML.
 */
export async function samlPeer(
  parts: SamlParts,
  provider: SamlProvider,
  options: PeerOptions = {},
): Promise<SAML> {
  const { SAML } = await import("@node-saml/node-saml");
  class OnOurClock extends SAML {
    protected override checkTimestampsValidityError(
      _systemTime: number,
      notBefore: string,
      notOnOrAfter: string,
      limitMs?: number,
    ) {
      const now = parts.world.now().getTime();
      return super.checkTimestampsValidityError(now, notBefore, notOnOrAfter, limitMs);
    }
  }
  return new OnOurClock(peerConfig(parts, provider, options));
}

/** A response may be used this long after it was made, whatever it says itself. */
export const MAX_ASSERTION_MS = 60 * 60_000;

function peerConfig(parts: SamlParts, provider: SamlProvider, options: PeerOptions): SamlConfig {
  const { entityId, acs } = samlAddresses(parts, provider);
  const { id, answers, again } = options;
  return {
    idpCert: [...provider.certificates],
    issuer: entityId,
    audience: entityId,
    callbackUrl: acs,
    entryPoint: provider.ssoUrl,
    idpIssuer: provider.issuer,
    identifierFormat: NAME_ID_FORMATS[provider.nameIdFormat],
    // How people sign in there is the provider's business; asking for a password would forbid stronger ways.
    disableRequestedAuthnContext: true,
    wantAssertionsSigned: true,
    wantAuthnResponseSigned: options.responseSigned ?? false,
    acceptedClockSkewMs: provider.clockSkewMs,
    maxAssertionAgeMs: MAX_ASSERTION_MS,
    signatureAlgorithm: "sha256",
    digestAlgorithm: "sha256",
    ...(provider.key && {
      privateKey: provider.key.privateKey.reveal(),
      publicCert: provider.key.certificate,
    }),
    // Core §3.4.1: asked anew, whomever the provider remembers.
    forceAuthn: again,
    ...(id !== undefined && { generateUniqueId: () => id }),
    ...answering(answers),
  };
}

/** The pending sign-in is our memory of requests and its lifetime; the library asks only whether it is this one. */
function answering(request: string | undefined): Partial<SamlConfig> {
  return {
    validateInResponseTo: (request === undefined ? "never" : "always") as SamlConfig["validateInResponseTo"],
    requestIdExpirationPeriodMs: Number.MAX_SAFE_INTEGER,
    cacheProvider: {
      saveAsync: async (_key, value) => ({ value, createdAt: 0 }),
      getAsync: async (key) => (key === request ? new Date(0).toISOString() : null),
      removeAsync: async (key) => key,
    },
  };
}

/** Where the browser goes with our AuthnRequest (Bindings §3.4, HTTP-Redirect). */
export async function authnRequestUrl(
  parts: SamlParts,
  provider: SamlProvider,
  { id, relayState, again }: { id: string; relayState: string; again?: boolean },
): Promise<string> {
  const peer = await samlPeer(parts, provider, { id, again });
  return peer.getAuthorizeUrlAsync(relayState, undefined, {});
}

/** Metadata §2.4.4: who we are, for the identity provider's administrator. */
export async function serviceProviderMetadata(parts: SamlParts, provider: SamlProvider): Promise<string> {
  const peer = await samlPeer(parts, provider, { id: "_metadata" });
  const certificate = provider.key?.certificate ?? null;
  return peer.generateServiceProviderMetadata(certificate, certificate);
}
