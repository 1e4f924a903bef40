/** How long a code waits for its client. */
export const CODE_MS = 5 * 60_000;

/** What an authorization code is bound to (OAuth 2.1 §4.1.2); the code itself is stored only as a keyed hash. */
export type CodeData = {
  grantId: string;
  clientIdHash: string;
  redirectUri: string;
  challenge: string;
  resource: string;
  scope: string;
};
