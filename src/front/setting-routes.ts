import { z } from "zod";
import type { Audit } from "../audit/index.ts";
import { Problem } from "../base/index.ts";
import { json, type Route } from "../http/index.ts";
import { actorOf, route } from "../identity/index.ts";
import { pathOf, type RunningSettings } from "./running-settings.ts";
import { clientSettings, limitSetting, type Setting, settingList } from "./setting-list.ts";

export interface SettingRoutesParts {
  running: RunningSettings;
  audit: Audit;
}

const limits = {
  guess: limitSetting,
  register: limitSetting,
  authorize: limitSetting,
  token: limitSetting,
  api: limitSetting,
};

type Shape = Record<string, z.ZodType>;

/** What may be sent: some of the settings, or null for the default. Others are let through, to be refused by name. */
function patchOf<S extends Shape>(shape: S) {
  const entries = Object.entries(shape).map(([name, schema]) => [name, schema.nullable().optional()]);
  return z.looseObject(Object.fromEntries(entries) as Shape).optional();
}

const patchBody = z.looseObject({ client: patchOf(clientSettings), limits: patchOf(limits) });

const view = z.object({
  client: z.object(clientSettings),
  limits: z.object(limits),
  sources: z.record(z.string(), z.enum(["default", "file", "database"])),
});

const path = "/api/config";
const common = { path, tag: "Settings", access: "admin", rate: "api", errors: "envelope" } as const;

/** `/api/config` (contract section 7): what can change without a restart, and nothing else; administrators only. */
export function settingRoutes({ running, audit }: SettingRoutesParts): Route[] {
  const shown = () => {
    const { values, sources } = running.current();
    return { ...values, sources };
  };
  return [
    route({
      ...common,
      method: "GET",
      csrf: "none",
      operationId: "getConfig",
      summary: "The settings that can change while the gateway runs, and where each value comes from",
      answers: { 200: { description: "What counts now", schema: view } },
      refuses: [],
      handle: () => json(shown()),
    }),
    route({
      ...common,
      method: "PUT",
      csrf: "session",
      operationId: "updateConfig",
      summary: "Changes the settings that are sent, at once; null goes back to the default",
      json: patchBody,
      answers: {
        200: {
          description: "Changed, here now and on every replica within a second",
          schema: z.object({ message: z.string(), ...view.shape }),
        },
      },
      refuses: [409],
      handle: async ({ body, caller, requestId }) => {
        const changes = changesOf(body);
        await running.change(changes, (tx, changed) =>
          audit.append(tx, {
            event: "settings.changed",
            actor: actorOf(caller),
            requestId,
            detail: Object.fromEntries(changed.map((name) => [name, changes.get(name)])),
          }),
        );
        return json({ message: "Settings changed.", ...shown() });
      },
    }),
  ];
}

const known = new Map<string, Setting>(settingList.map((setting) => [pathOf(setting), setting]));

function changesOf(body: z.output<typeof patchBody>): Map<string, unknown> {
  const changes = new Map<string, unknown>();
  for (const [group, values] of Object.entries(body)) {
    if (group !== "client" && group !== "limits") throw notChangeable(group);
    for (const [name, value] of Object.entries(values ?? {})) {
      const at = `${group}.${name}`;
      if (!known.has(at)) throw notChangeable(at);
      if (value !== undefined) changes.set(at, value);
    }
  }
  return changes;
}

function notChangeable(param: string): Problem {
  return new Problem(
    "invalid",
    "setting_not_changeable",
    `${param} cannot change while the gateway runs. GET /api/config lists what can; everything else stands in the configuration file or the environment and counts after a restart.`,
    { param },
  );
}
