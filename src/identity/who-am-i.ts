import { z } from "zod";
import { json, type Route } from "../http/index.ts";
import { isAdmin, type Principal } from "./principal.ts";
import { route } from "./route.ts";
import type { Users } from "./users.ts";

const answer = z.object({
  kind: z.enum(["admin_token", "user", "api_token", "virtual_key", "jwt"]),
  is_admin: z.boolean(),
  user: z
    .object({ id: z.string(), email: z.string(), name: z.string(), role: z.enum(["admin", "member"]) })
    .optional(),
  token: z.object({ id: z.string(), name: z.string(), scopes: z.array(z.string()) }).optional(),
  virtual_key: z.object({ id: z.string(), name: z.string() }).optional(),
  jwt: z.object({ issuer: z.string(), subject: z.string() }).optional(),
});

/** `GET /api/session`: as whom a request counts, and for whom it acts. */
export function whoAmI(users: Users): Route {
  return route({
    method: "GET",
    path: "/api/session",
    operationId: "getSession",
    summary: "Who calls",
    tag: "Sign-in",
    access: "management",
    csrf: "none",
    rate: "api",
    errors: "envelope",
    refuses: [],
    answers: { 200: { description: "The caller, as this gateway knows them", schema: answer } },
    handle: async ({ caller }) => json(await describe(caller, users)),
  });
}

async function describe(caller: Principal, users: Users): Promise<z.output<typeof answer>> {
  const { kind } = caller;
  const userId = kind === "admin_token" ? undefined : caller.userId;
  const person = userId === undefined ? undefined : await users.find(userId);
  return {
    kind,
    is_admin: isAdmin(caller),
    user: person && { id: person.id, email: person.email, name: person.name, role: person.role },
    token:
      kind === "api_token"
        ? { id: caller.tokenId, name: caller.name, scopes: [...caller.scopes] }
        : undefined,
    virtual_key: kind === "virtual_key" ? { id: caller.virtualKeyId, name: caller.name } : undefined,
    jwt: jwtOf(caller),
  };
}

function jwtOf(caller: Principal): { issuer: string; subject: string } | undefined {
  const said = caller.kind === "jwt" ? caller : caller.kind === "virtual_key" ? caller.jwt : undefined;
  return said && { issuer: said.issuer, subject: said.subject };
}
