/** The addresses of this folder (contract sections 3 and 4). */
export const paths = {
  authorize: "/api/oauth/per-user/authorize",
  token: "/api/oauth/per-user/token",
  register: "/api/oauth/per-user/register",
  revoke: "/api/oauth/per-user/revoke",
  deviceAuthorization: "/api/oauth/per-user/device_authorization",
  /** Where a person types the code that a device shows (RFC 8628 §3.3). */
  device: "/device",
  allowDevice: "/device/allow",
  refuseDevice: "/device/refuse",
  /** A redirect URI for clients that none reaches: the page shows what they have to be given by hand. */
  codePage: "/oauth/code",
  consent: "/oauth/consent",
  services: "/oauth/consent/mcps",
  chooseKey: "/api/oauth/per-user/consent/vk",
  chooseUser: "/api/oauth/per-user/consent/user-id",
  notYou: "/api/oauth/per-user/consent/not-you",
  skip: "/api/oauth/per-user/consent/skip",
  submit: "/api/oauth/per-user/consent/submit",
  deny: "/api/oauth/per-user/consent/deny",
  /** connect/ answers here. */
  connectUpstream: "/api/oauth/per-user/upstream/authorize",
  connectCode: "/oauth/consent/code",
  pasteAddress: "/workspace/mcp-sessions/address",
  connectHeaders: "/oauth/consent/headers",
} as const;

/** The pages of a consent, with an error code of ours where a form failed. */
export function consentPath(path: "consent" | "services", flowId: string, error?: string): string {
  const query = new URLSearchParams({ flow_id: flowId, ...(error === undefined ? {} : { error }) });
  return `${paths[path]}?${query}`;
}
