import { metaKey } from "../relay/index.ts";
import { isObject, type Message } from "./body.ts";
import type { Client } from "./era.ts";
import { fromLevel, type LogLevels } from "./log-levels.ts";
import type { NotificationSink } from "./reply.ts";
import type { ToolCall } from "./tool-call.ts";

/** Whether anything can come before the answer: older clients are sent what there is, 2026-07-28 ones what they asked for. */
export function mayNotify(client: Client, { params }: Pick<Message, "params">): boolean {
  if (client.era === "legacy") return true;
  const meta = params?._meta;
  return isObject(meta) && (meta[metaKey.logLevel] !== undefined || meta.progressToken !== undefined);
}

/** How much of an upstream's log the client wants to see; undefined: it did not say, or cannot be shown any. */
export function levelOf({ client, params, onNotification }: ToolCall, levels: LogLevels): string | undefined {
  if (!onNotification) return undefined;
  if (client.era === "legacy") return levels.of(client);
  const level = isObject(params._meta) ? params._meta[metaKey.logLevel] : undefined;
  return typeof level === "string" ? level : undefined;
}

/** 2026-07-28: no log messages unless this request asked for them. */
export function wanted(
  { client, params, onNotification }: ToolCall,
  level: string | undefined,
): NotificationSink | undefined {
  if (!onNotification) return undefined;
  if (client.era === "legacy") return level === undefined ? onNotification : fromLevel(onNotification, level);
  const meta = isObject(params._meta) ? params._meta : {};
  if (level !== undefined) return fromLevel(onNotification, level);
  if (meta.progressToken === undefined) return undefined;
  return (notification) =>
    notification.method === "notifications/progress" ? onNotification(notification) : undefined;
}
