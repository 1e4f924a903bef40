/** The plain answers. Everything is `no-store` unless its route says otherwise (mount.ts). */
export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

/** 303 after a POST of ours, so that no form body travels on (RFC 9700 §4.12); 302 where the contract says so. */
export function redirect(
  url: string | URL,
  status: 302 | 303 = 303,
  headers: [string, string][] = [],
): Response {
  return new Response(null, { status, headers: [["location", String(url)], ...headers] });
}

export function noContent(headers: Record<string, string> = {}): Response {
  return new Response(null, { status: 204, headers });
}
