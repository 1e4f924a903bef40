/** Where an authorization server of `oidc-provider` is asked for what. */
export type ServerEndpoint =
  | "metadata"
  | "registration"
  | "authorization"
  | "token"
  | "revocation"
  | "jwks"
  | "device";

export function endpointOf(path: string): ServerEndpoint | undefined {
  if (path.startsWith("/.well-known/")) return "metadata";
  if (path === "/auth") return "authorization";
  if (path === "/reg") return "registration";
  if (path === "/token") return "token";
  if (path === "/device/auth") return "device";
  if (path === "/token/revocation") return "revocation";
  return path === "/jwks" ? "jwks" : undefined;
}

export function emptyCounts(): Record<ServerEndpoint, number> {
  return { metadata: 0, registration: 0, authorization: 0, token: 0, revocation: 0, jwks: 0, device: 0 };
}
