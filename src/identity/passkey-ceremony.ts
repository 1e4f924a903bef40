import type {
  AuthenticationResponseJSON,
  RegistrationResponseJSON,
  WebAuthnCredential,
} from "@simplewebauthn/server";
import type { RelyingParty } from "./relying-party.ts";

/** Loaded when the first passkey is used: most processes that serve tools never see one. */
const library = () => import("@simplewebauthn/server");

/** EdDSA, ES256 and RS256 (RFC 9053 §2): what authenticators have. */
const ALGORITHMS = [-8, -7, -257];

/** A credential as its authenticator described it (WebAuthn §7.1). */
export interface NewCredential {
  credentialId: string;
  publicKey: Uint8Array;
  counter: number;
  transports: string[];
  backedUp: boolean;
}

/** What the page asks the browser to make (WebAuthn §5.4); JSON. */
export async function creationOptions(
  party: RelyingParty,
  person: { id: string; email: string; name: string },
  challenge: Uint8Array,
  known: readonly { id: string; transports: string[] }[],
): Promise<string> {
  const { generateRegistrationOptions } = await library();
  const options = await generateRegistrationOptions({
    rpName: "Postern",
    rpID: party.id,
    // An opaque id of ours: nothing about the person is kept where the passkey is (WebAuthn §14.6.1).
    userID: Uint8Array.from(Buffer.from(person.id)),
    userName: person.email,
    userDisplayName: person.name,
    challenge: Uint8Array.from(challenge),
    attestationType: "none",
    excludeCredentials: [...known],
    supportedAlgorithmIDs: ALGORITHMS,
    // Found without a name being typed, and unlocked by its person: it counts for both factors.
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
  });
  return JSON.stringify(options);
}

/** What the page asks the browser to sign with (WebAuthn §5.5); JSON. Any passkey of this address. */
export async function requestOptions(party: RelyingParty, challenge: Uint8Array): Promise<string> {
  const { generateAuthenticationOptions } = await library();
  const options = await generateAuthenticationOptions({
    rpID: party.id,
    challenge: Uint8Array.from(challenge),
    userVerification: "required",
  });
  return JSON.stringify(options);
}

/** The new credential, or why it was not accepted; the reason is for the log. */
export async function readCreation(
  response: unknown,
  party: RelyingParty,
  challenge: string,
): Promise<NewCredential | { refused: unknown }> {
  const { verifyRegistrationResponse } = await library();
  try {
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response: response as RegistrationResponseJSON,
      expectedChallenge: challenge,
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: ALGORITHMS,
    });
    if (!verified) return { refused: "not verified" };
    const { credential, credentialBackedUp } = registrationInfo;
    return {
      credentialId: credential.id,
      publicKey: credential.publicKey,
      counter: credential.counter,
      transports: credential.transports ?? [],
      backedUp: credentialBackedUp,
    };
  } catch (error) {
    return { refused: error };
  }
}

/** The counter after this use, or why the answer was not accepted; a counter that did not rise is refused (WebAuthn §6.1.1). */
export async function readAssertion(
  response: unknown,
  party: RelyingParty,
  challenge: string,
  credential: WebAuthnCredential,
): Promise<{ counter: number; backedUp: boolean } | { refused: unknown }> {
  const { verifyAuthenticationResponse } = await library();
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: response as AuthenticationResponseJSON,
      expectedChallenge: challenge,
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      credential,
      requireUserVerification: true,
    });
    if (!verified) return { refused: "the signature does not fit" };
    return { counter: authenticationInfo.newCounter, backedUp: authenticationInfo.credentialBackedUp };
  } catch (error) {
    return { refused: error };
  }
}
