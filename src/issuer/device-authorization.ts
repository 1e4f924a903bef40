import { z } from "zod";
import { newSecret, Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { json, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { deviceAuthorization } from "./answers.ts";
import { authenticateClient, unknownClient } from "./client-authentication.ts";
import type { Clients } from "./clients.ts";
import { DEVICE_MS, type DeviceData, deviceHandle, INTERVAL_S, userCodeHandle } from "./device-flow.ts";
import type { IssuerParts } from "./parts.ts";
import { paths } from "./paths.ts";
import { ownResource } from "./resource.ts";
import { grantedScope } from "./scope.ts";
import { newUserCode, shownUserCode } from "./user-code.ts";

/** RFC 6749 §3.1: a parameter without a value counts as omitted. */
const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined);

const form = z.object({ client_id: optional, client_secret: optional, scope: optional, resource: optional });

const CODE_ATTEMPTS = 5;

type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "hash" | "settings">;

/** The device authorization endpoint (RFC 8628 §3.1). Approves nothing: a person has to type what it gives. */
export function deviceAuthorizationRoute(parts: Parts, clients: Clients): Route {
  return route({
    method: "POST",
    path: paths.deviceAuthorization,
    operationId: "deviceAuthorization",
    summary:
      "Device authorization (RFC 8628): codes for a device without a browser, and the page for its person",
    tag: "authorization",
    access: "public",
    csrf: "none",
    rate: "authorize",
    errors: "oauth",
    form,
    refuses: [401, 503],
    answers: { 200: { description: "The codes", schema: deviceAuthorization } },
    handle: async ({ request, body, remote }) => {
      if (!parts.settings.deviceAuthorization) throw switchedOff();
      const { id } = await authenticateClient(clients, parts.hash, request, body, { documents: true });
      const client = await clients.find(id);
      if (!client) throw unknownClient();
      const scope = grantedScope(body.scope, parts.settings);
      if (scope === undefined)
        throw new Problem("invalid", "invalid_scope", "scope is not a list of scope words.", {
          param: "scope",
        });
      const resource = ownResource(body.resource, parts.settings);
      if (resource === undefined)
        throw new Problem("invalid", "invalid_target", "resource must be the address of the MCP endpoint.", {
          param: "resource",
        });
      return json(
        await start(parts, { client, scope, resource, askedFrom: remote, interval: INTERVAL_S }),
        200,
        {
          "cache-control": "no-store",
        },
      );
    },
  });
}

/** Both flows live equally long; the one the person finds is gone once it is found, the device's stays until its tokens are given. */
async function start(parts: Parts, data: DeviceData) {
  const deviceCode = newSecret(parts.world, "pstd_");
  const { client } = data;
  const userCode = await parts.database.transaction(async (tx) => {
    const device = await parts.flows.start(tx, {
      kind: "device",
      handleHash: deviceHandle(parts.hash, client.idHash, deviceCode),
      data,
      ttlMs: DEVICE_MS,
    });
    const code = await freeUserCode(parts, tx);
    await parts.flows.start(tx, {
      kind: "user_code",
      handleHash: userCodeHandle(parts.hash, code),
      parentId: device.id,
      data: {},
      ttlMs: DEVICE_MS,
    });
    return shownUserCode(code);
  });
  const page = parts.settings.baseUrl.origin + paths.device;
  return {
    device_code: deviceCode,
    user_code: userCode,
    verification_uri: page,
    verification_uri_complete: `${page}?${new URLSearchParams({ user_code: userCode })}`,
    expires_in: DEVICE_MS / 1000,
    interval: data.interval,
  };
}

/** One that nobody has now, nor had within the last day, while its tombstone stands. */
async function freeUserCode(parts: Parts, tx: Tx): Promise<string> {
  for (let attempt = 0; attempt < CODE_ATTEMPTS; attempt++) {
    const code = newUserCode(parts.world);
    const known = await parts.flows.peek(tx, "user_code", { handleHash: userCodeHandle(parts.hash, code) });
    if (known.state === "unknown") return code;
  }
  throw new Problem("unavailable", "busy", "Too many devices wait at the moment. Try again.", {
    retryAfter: 5,
  });
}

function switchedOff(): Problem {
  return new Problem(
    "invalid",
    "unauthorized_client",
    "This gateway gives no tokens to devices this way. Use the authorization code grant.",
  );
}
