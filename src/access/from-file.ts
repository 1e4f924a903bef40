import { type Log, Problem } from "../base/index.ts";
import { ConfigurationFault, type Upstreams } from "../upstreams/index.ts";
import { type KeyEntry, resolveConfigs } from "./key-body.ts";
import type { KeyConfig, VirtualKey } from "./virtual-key.ts";
import type { VirtualKeys } from "./virtual-keys.ts";

interface Parts {
  keys: VirtualKeys;
  upstreams: Upstreams;
  log: Log;
}

/**
 * Makes the stored keys with source `file` what `governance.virtual_keys[]` says, by name; gone ones are switched off.
 * The upstreams of the file come first (`reconcileFile` of upstreams/). Throws `ConfigurationFault`.
 */
export async function reconcileKeyFile(parts: Parts, entries: readonly KeyEntry[]): Promise<void> {
  const stored = new Map((await parts.keys.all()).map((key) => [key.name, key]));
  const names = new Set<string>();
  const checked = entries.map((entry, index) => {
    const where = `governance.virtual_keys[${index}] (${entry.name})`;
    refuse(where, entry, stored.get(entry.name), names);
    return { entry, where, configs: configsOf(parts.upstreams, entry, where) };
  });
  for (const { entry, where, configs } of checked) {
    await inWords(where, () => apply(parts, entry, configs, stored.get(entry.name)));
  }
  for (const key of stored.values()) {
    if (key.source === "file" && !names.has(key.name) && key.isActive)
      await parts.keys.update(key.id, { isActive: false });
  }
}

function refuse(where: string, entry: KeyEntry, known: VirtualKey | undefined, names: Set<string>): void {
  if (names.has(entry.name)) throw new ConfigurationFault(`${where}: the name is used twice. Keep one.`);
  names.add(entry.name);
  if (known?.source === "api") {
    throw new ConfigurationFault(
      `${where}: a key of this name was created through the API. Delete it there or rename this entry.`,
    );
  }
  if (known && (entry.user_id ?? undefined) !== known.userId)
    throw new ConfigurationFault(
      `${where}: the user of a key never changes. Use another name for a new key.`,
    );
}

async function apply(
  { keys, log }: Parts,
  entry: KeyEntry,
  configs: KeyConfig[],
  known: VirtualKey | undefined,
): Promise<void> {
  const { name, value, description = "" } = entry;
  const isActive = entry.is_active ?? true;
  if (!known) {
    const expiresAt = entry.expires_at ?? undefined;
    const userId = entry.user_id ?? undefined;
    await keys.create({ name, description, isActive, expiresAt, userId, configs, value, source: "file" });
    if (!value) {
      log.warn("virtual_key.declared_without_value", {
        name,
        hint: 'Nobody knows its value. Give one in the file, "value": "env.NAME" starting with sk-bf-, or rotate the key.',
      });
    }
    return;
  }
  const isNewValue = value !== undefined && !(await keys.hasValue(known.id, value));
  await keys.update(known.id, {
    description,
    isActive,
    expiresAt: entry.expires_at ?? null,
    configs,
    value: isNewValue ? value : undefined,
    valueFromFile: value !== undefined,
  });
}

function configsOf(upstreams: Upstreams, entry: KeyEntry, where: string): KeyConfig[] {
  try {
    return resolveConfigs(upstreams, entry.mcp_configs ?? []);
  } catch (error) {
    throw inFileWords(error, where);
  }
}

async function inWords(where: string, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    throw inFileWords(error, where);
  });
}

function inFileWords(error: unknown, where: string): unknown {
  if (!(error instanceof Problem) || error.status >= 500) return error;
  return new ConfigurationFault(`${where}${error.param ? `, ${error.param}` : ""}: ${error.message}`);
}
