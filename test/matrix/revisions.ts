/** Every revision of MCP, oldest first; dates sort as text. */
export const revisions = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] as const;
export type Revision = (typeof revisions)[number];

/** The stateless one. */
export const modern: Revision = "2026-07-28";

// biome-ignore lint/suspicious/noExplicitAny: a message is looked at freely; the expectations are the types.
export type Json = Record<string, any>;

interface Sending {
  // biome-ignore lint/suspicious/noExplicitAny: the transports of two SDKs agree in the message alone
  send(message: any, ...more: any[]): Promise<void>;
}

/** Makes an end of the official SDK one of this revision: what it says at `initialize` names no other. */
export function pinned<T extends Sending>(transport: T, revision: Revision): T {
  const send = transport.send.bind(transport);
  transport.send = (message: Json, ...more: unknown[]) => {
    const part = message.method === "initialize" ? "params" : "result";
    const said = message[part];
    if (said?.protocolVersion === undefined) return send(message, ...more);
    return send({ ...message, [part]: { ...said, protocolVersion: revision } }, ...more);
  };
  return transport;
}
