import { z } from "zod";
import { type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { backToDevice } from "./consent-end.ts";
import { startConsent } from "./consent-start.ts";
import { type DeviceFlow, userCodeHandle, waitingDevice } from "./device-flow.ts";
import { codeForm, devicePage } from "./device-pages.ts";
import { DEVICE_GRANT } from "./grant-names.ts";
import type { IssuerParts } from "./parts.ts";
import { paths } from "./paths.ts";
import { readUserCode, shownUserCode, WrongCodes } from "./user-code.ts";

type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "hash" | "settings" | "audit">;

const typed = z.string().max(200);
const query = z.object({ user_code: typed.optional(), error: typed.optional() });
const form = z.object({ user_code: typed.default("") });

const common = { tag: "consent", access: "public", errors: "page" } as const;
const answers = { 200: { description: "A page" }, 303: { description: "Back, with an error" } };

/** The pages of RFC 8628 §3.3: a person types a code, sees what waits behind it, and begins the consent or refuses. */
export function deviceRoutes(parts: Parts): Route[] {
  const wrong = new WrongCodes(parts.world);
  return [
    route({
      ...common,
      method: "GET",
      path: paths.device,
      operationId: "devicePage",
      summary: "Where a person types the code that a device shows",
      csrf: "none",
      rate: "api",
      query,
      refuses: [],
      answers: { 200: { description: "A page" } },
      handle: ({ query: { user_code, error } }) => {
        const code = user_code === undefined ? undefined : readUserCode(user_code);
        return codeForm({ typed: code && shownUserCode(code), error });
      },
    }),
    ...forms(parts, wrong),
  ];
}

function forms(parts: Parts, wrong: WrongCodes): Route[] {
  const post = { ...common, method: "POST", csrf: "page", rate: "guess", form, refuses: [403, 429] } as const;
  return [
    route({
      ...post,
      path: paths.device,
      operationId: "showDevice",
      summary: "Which device shows this code",
      answers,
      handle: async ({ body }) => {
        const found = await lookUp(parts, wrong, body.user_code);
        return found ? devicePage(found.device, shownUserCode(found.code), parts.world) : unknownCode();
      },
    }),
    route({
      ...post,
      path: paths.allowDevice,
      operationId: "allowDevice",
      summary: "Begin the consent for this device",
      answers: { 302: { description: "To the consent page" }, 303: answers[303] },
      handle: async ({ body }) => {
        const found = await lookUp(parts, wrong, body.user_code);
        return (found && (await begin(parts, found.device, found.code))) ?? unknownCode();
      },
    }),
    route({
      ...post,
      path: paths.refuseDevice,
      operationId: "refuseDevice",
      summary: "Refuse this device",
      answers,
      handle: async ({ body, requestId }) => {
        const found = await lookUp(parts, wrong, body.user_code);
        return (found && (await refuse(parts, found.device, found.code, requestId))) ?? unknownCode();
      },
    }),
  ];
}

const unknownCode = () => redirect(`${paths.device}?error=unknown_code`);

/** One answer for what never was, is over, or was answered already; each is a guess. */
async function lookUp(
  parts: Parts,
  wrong: WrongCodes,
  text: string,
): Promise<{ device: DeviceFlow; code: string } | undefined> {
  wrong.check();
  const code = readUserCode(text);
  const device = code === undefined ? undefined : await waitingDevice(parts, parts.database.db, code);
  if (device && code !== undefined) return { device, code };
  wrong.note();
  return undefined;
}

/** The code is spent; from here on it is the ordinary consent, in this browser. Undefined: somebody else was faster. */
function begin(parts: Parts, device: DeviceFlow, code: string): Promise<Response | undefined> {
  const { client, scope, resource } = device.data;
  return parts.database.transaction(async (tx) => {
    const handle = { handleHash: userCodeHandle(parts.hash, code) };
    if (!(await parts.flows.take(tx, "user_code", handle, "used"))) return undefined;
    const end = { by: "device", flowId: device.id } as const;
    const data = { client, redirectUri: DEVICE_GRANT, end, challenge: "", scope, resource, guesses: 0 };
    return startConsent(parts, data, { ttlMs: device.expiresAt - parts.world.now().getTime(), tx });
  });
}

function refuse(
  parts: Parts,
  device: DeviceFlow,
  code: string,
  requestId: string,
): Promise<Response | undefined> {
  const { client } = device.data;
  return parts.database.transaction(async (tx) => {
    const handle = { handleHash: userCodeHandle(parts.hash, code) };
    if (!(await parts.flows.take(tx, "user_code", handle, "refused"))) return undefined;
    if (!(await parts.flows.take(tx, "device", { id: device.id }, "denied"))) return undefined;
    const detail = { client: client.name, redirect_uri: DEVICE_GRANT };
    await parts.audit.append(tx, { event: "consent.denied", actor: "browser", requestId, detail });
    return backToDevice(client, false);
  });
}
