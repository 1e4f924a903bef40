import { z } from "zod";
import { Problem, type World } from "../base/index.ts";
import { json, noContent, pageQuery, type Route } from "../http/index.ts";
import type { AlsoToken, ApiToken, ApiTokens } from "./api-tokens.ts";
import { actorOf, isAdmin, type Principal } from "./principal.ts";
import type { Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import { scopeSchema } from "./scopes.ts";

export interface TokenRoutesParts {
  tokens: ApiTokens;
  world: World;
  record: Recorder;
}

const path = "/api/tokens";
const common = { tag: "Tokens", access: "management", rate: "api", errors: "envelope" } as const;
const role = z.enum(["admin", "member"]);
const time = z.iso.datetime();

const tokenBody = z.strictObject({
  name: z.string().trim().min(1).max(128),
  role: role.optional(),
  scopes: z.array(scopeSchema).min(1).max(64),
  expires_at: z.iso
    .datetime({ offset: true })
    .transform((text) => new Date(text).getTime())
    .nullish(),
});

const tokenView = z.object({
  id: z.string(),
  name: z.string(),
  value: z.string(),
  role,
  scopes: z.array(z.string()),
  user_id: z.string().nullable(),
  expires_at: time.nullable(),
  last_used_at: time.nullable(),
  created_at: time,
});

const listAnswer = z.object({
  tokens: z.array(tokenView),
  count: z.int(),
  total_count: z.int(),
  limit: z.int(),
  offset: z.int(),
});

/** Management API tokens (contract section 1): an administrator sees all of them, a person their own. */
export function tokenRoutes(parts: TokenRoutesParts): Route[] {
  return [listRoute(parts), createRoute(parts), deleteRoute(parts)];
}

function listRoute({ tokens }: TokenRoutesParts): Route {
  return route({
    ...common,
    csrf: "none",
    method: "GET",
    path,
    operationId: "listTokens",
    summary: "The management API tokens, newest first; values never",
    query: z.object(pageQuery({ max: 100, default: 25 })),
    answers: { 200: { description: "A page of them", schema: listAnswer } },
    refuses: [],
    handle: async ({ query: { limit, offset }, caller }) => {
      const { tokens: page, total } = await tokens.list({ userId: whose(caller), limit, offset });
      return json({
        tokens: page.map(view),
        count: page.length,
        total_count: total,
        limit,
        offset,
      });
    },
  });
}

function createRoute({ tokens, world, record }: TokenRoutesParts): Route {
  return route({
    ...common,
    csrf: "session",
    method: "POST",
    path,
    operationId: "createToken",
    summary: "Makes a token for /api; its value is in this answer and nowhere else",
    json: tokenBody,
    answers: {
      200: { description: "Created", schema: z.object({ message: z.string(), token: tokenView }) },
    },
    refuses: [],
    handle: async ({ body, caller, requestId }) => {
      const { userId, role } = makerOf(caller, body.role);
      const expiresAt = body.expires_at ?? undefined;
      if (expiresAt !== undefined && expiresAt <= world.now().getTime()) {
        throw new Problem("invalid", "invalid_request", "expires_at: this time has passed.", {
          param: "expires_at",
        });
      }
      const made = { name: body.name, userId, role, scopes: [...new Set(body.scopes)], expiresAt };
      const { token, value } = await tokens.create(made, line(record, "token.created", caller, requestId));
      const message = "Token created. Keep its value: it is shown only now.";
      return json({ message, token: { ...view(token), value: value.reveal() } });
    },
  });
}

function deleteRoute({ tokens, record }: TokenRoutesParts): Route {
  return route({
    ...common,
    csrf: "session",
    method: "DELETE",
    path: `${path}/{id}`,
    operationId: "deleteToken",
    summary: "Ends a token at once",
    params: z.object({ id: z.string().max(128) }),
    answers: { 204: { description: "Ended" } },
    refuses: [],
    handle: async ({ params, caller, requestId }) => {
      await tokens.delete(params.id, whose(caller), line(record, "token.deleted", caller, requestId));
      return noContent();
    },
  });
}

/** Whose tokens the caller may see; undefined: everybody's. */
function whose(caller: Principal): string | undefined {
  if (isAdmin(caller)) return undefined;
  if (caller.kind === "virtual_key" || caller.kind === "admin_token" || caller.userId === undefined) {
    throw signInRequired();
  }
  return caller.userId;
}

/** A person makes tokens of their own; tokens make no tokens, or one that leaks would outlive its end. */
function makerOf(
  caller: Principal,
  asked: ApiToken["role"] | undefined,
): { userId?: string; role: ApiToken["role"] } {
  if (caller.kind === "admin_token") {
    if (asked !== "member") return { role: "admin" };
    throw new Problem(
      "invalid",
      "token_owner_required",
      "A member's token belongs to a person. Sign in as that person to make it.",
      { param: "role" },
    );
  }
  if (caller.kind !== "user") throw signInRequired();
  if (asked === "admin" && caller.role !== "admin") {
    throw new Problem(
      "forbidden",
      "administrator_required",
      "A token can do no more than its owner. Ask an administrator for the role.",
      { param: "role" },
    );
  }
  return { userId: caller.userId, role: asked ?? caller.role };
}

function signInRequired(): Problem {
  return new Problem("forbidden", "sign_in_required", "Sign in with your own account to do this.");
}

function line(record: Recorder, event: string, caller: Principal, requestId: string): AlsoToken {
  return (tx, token) =>
    record(tx, {
      event,
      actor: actorOf(caller),
      owner: token.userId === undefined ? undefined : { mode: "user", id: token.userId },
      requestId,
      detail: { token_id: token.id, name: token.name, role: token.role, scopes: token.scopes },
    });
}

function view(token: ApiToken): z.output<typeof tokenView> {
  return {
    id: token.id,
    name: token.name,
    value: `pst_…${token.tail}`,
    role: token.role,
    scopes: [...token.scopes],
    user_id: token.userId ?? null,
    expires_at: iso(token.expiresAt),
    last_used_at: iso(token.lastUsedAt),
    created_at: new Date(token.createdAt).toISOString(),
  };
}

function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
