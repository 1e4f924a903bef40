/** The addresses of this folder (contract sections 3 and 4). */
export const paths = {
  authorize: "/api/oauth/per-user/authorize",
  token: "/api/oauth/per-user/token",
  register: "/api/oauth/per-user/register",
  revoke: "/api/oauth/per-user/revoke",
  consent: "/oauth/consent",
  services: "/oauth/consent/mcps",
  chooseKey: "/api/oauth/per-user/consent/vk",
  chooseUser: "/api/oauth/per-user/consent/user-id",
  skip: "/api/oauth/per-user/consent/skip",
  submit: "/api/oauth/per-user/consent/submit",
  deny: "/api/oauth/per-user/consent/deny",
  /** connect/ answers here. */
  connectUpstream: "/api/oauth/per-user/upstream/authorize",
  connectHeaders: "/oauth/consent/headers",
} as const;

/** The pages of a consent, with an error code of ours where a form failed. */
export function consentPath(path: "consent" | "services", flowId: string, error?: string): string {
  const query = new URLSearchParams({ flow_id: flowId, ...(error === undefined ? {} : { error }) });
  return `${paths[path]}?${query}`;
}
