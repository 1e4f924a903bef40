import type { Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";

/** Whose account a link connects. */
export interface LinkIdentity {
  /** For a page, with the label where there are several accounts. */
  words: string;
  /** The name of the service account, where somebody connects it for a machine (decision 0033). */
  machine?: string;
}

export async function identityOf(parts: ConnectParts, request: Request, link: Link): Promise<LinkIdentity> {
  const machine = await machineOf(parts, link);
  const whose = machine ? machine.words : await describeOwner(parts, request, link);
  const words = link.account === "" ? whose : `${whose}, account “${link.account}”`;
  return { words, machine: machine?.name };
}

async function machineOf(
  { database }: ConnectParts,
  { owner }: Link,
): Promise<{ name: string; words: string } | undefined> {
  if (owner.mode !== "user") return undefined;
  const row = await database.db
    .selectFrom("users as account")
    .leftJoin("users as manager", "manager.id", "account.manager_id")
    .select(["account.name as name", "manager.name as manager"])
    .where("account.id", "=", owner.id)
    .where("account.kind", "=", "service")
    .executeTakeFirst();
  if (!row) return undefined;
  const whose = row.manager === null ? "an administrator uses" : `${row.manager} uses`;
  return { name: row.name, words: `the service account “${row.name}”, which ${whose} from scripts` };
}

async function describeOwner(parts: ConnectParts, request: Request, { owner }: Link): Promise<string> {
  switch (owner.mode) {
    case "user":
    case "discovery":
    case "shared": {
      const signedIn = await parts.sessions.of(request);
      const person = signedIn ? `${signedIn.user.name || signedIn.user.email}` : "you";
      if (owner.mode === "shared") return `everybody who may use it here (${person} connects it)`;
      return owner.mode === "user" ? person : `this gateway, to read the tool list (${person})`;
    }
    case "vk": {
      const key = await parts.virtualKeys.find(owner.id);
      return key ? `the virtual key “${key.name}”` : "a virtual key";
    }
    case "session":
    case "flow":
      return "this app's session, without an account here";
  }
}
