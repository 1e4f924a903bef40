import { type JsonObject, stringifyJson } from "../base/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import type { RelayCall } from "./call.ts";
import type { Answer, Channel, Era } from "./channel.ts";
import { checkResult } from "./check-result.ts";
import { checkTasks } from "./check-tasks.ts";
import { RelayFault } from "./fault.ts";
import { isObject } from "./message.ts";
import { isModernCode } from "./modern.ts";
import { Patience } from "./patience.ts";
import { type Implementation, legacyBody, modernBody } from "./request.ts";
import { channelVersions, modernVersion } from "./revisions.ts";
import { isBelow } from "./severity.ts";

export interface Opening {
  channel: Channel;
  attempt: Attempt;
  /** What `initialize` declares that the client can be asked. */
  capabilities: JsonObject;
  self: Implementation;
  nextId(): number;
  patience: Patience;
  /** How long silence may last until it means that the server does not know the question. */
  probeMs: number;
}

/** One call on an open channel. Throws `RelayFault`, and `NotTaken`. */
export async function speak(
  channel: Channel,
  attempt: Attempt,
  id: number,
  self: Implementation,
  patience: Patience,
): Promise<Attempted> {
  const { call } = attempt;
  // What `server/discover` asks, an older server has said at `initialize`.
  if (channel.era === "legacy" && call.method === "server/discover")
    return { outcome: "result", result: { capabilities: channel.capabilities } };
  const body = channel.era === "modern" ? modernBody(call, id, self) : legacyBody(call, id);
  const answer = await channel.ask({ id, body, attempt, patience });
  if (answer.kind === "error") return { outcome: "error", error: answer.error };
  if (call.tasks) {
    const { result, news } = answer;
    return checkTasks(call, { outcome: "result", result, session: channel.name, news }, channel.era);
  }
  return { outcome: "result", result: checkResult(call.method, answer.result, channel.era) };
}

/**
 * The log level that this call wants, of an older upstream; a refusal is nobody's loss but the log's. Others may be on the
 * channel who want more; what is too much for this client is left out on its own side. Throws as `speak` does.
 */
export async function setLevel(
  channel: Channel,
  attempt: Attempt,
  id: number,
  patience: Patience,
): Promise<void> {
  const { logLevel: level } = attempt.call;
  if (level === undefined || channel.era !== "legacy" || channel.capabilities.logging === undefined) return;
  if (channel.logLevel !== undefined && !isBelow(level, channel.logLevel)) return;
  const body = stringifyJson({ jsonrpc: "2.0", id, method: "logging/setLevel", params: { level } });
  await channel.ask({ id, body, attempt, patience, silent: true });
  channel.logLevel = level;
}

/**
 * Opens a channel in one era: `initialize`, or nothing but the question whether it is modern. False: the server speaks the
 * other one. Throws `RelayFault`, and `NotTaken`.
 */
export async function openConversation(era: Era, opening: Opening): Promise<boolean> {
  const isOpen = await (era === "modern" ? discover(opening) : initialize(opening));
  if (isOpen) opening.channel.era = era;
  return isOpen;
}

async function discover(opening: Opening): Promise<boolean> {
  const { attempt, self, nextId, probeMs } = opening;
  const id = nextId();
  const { upstream } = attempt.call;
  const probe: RelayCall = {
    upstream,
    method: "server/discover",
    params: undefined,
    client: { era: "modern", capabilities: {} },
    signal: new AbortController().signal,
  };
  const answer = await briefly(opening, id, modernBody(probe, id, self), probeMs);
  if (answer === undefined) return false;
  if (answer.kind === "error") return isModernCode(answer.error.code);
  const versions = answer.result.supportedVersions;
  return Array.isArray(versions) && versions.includes(modernVersion);
}

/** Silence, an end, or what is no answer come from a server that does not know the question; it has no effects. */
async function briefly(
  { channel, attempt, patience }: Opening,
  id: number,
  body: string,
  ms: number,
): Promise<Answer | undefined> {
  const brief = new Patience(patience, ms);
  try {
    return await channel.ask({ id, body, attempt, patience: brief, silent: true });
  } catch (error) {
    if (!(error instanceof RelayFault)) throw error;
    if (patience.ended) throw patience.ended;
    // It may still be thinking about the question: what comes next must not be taken for an answer to it.
    channel.lose(error);
    return undefined;
  } finally {
    brief.stop();
  }
}

async function initialize(opening: Opening): Promise<boolean> {
  const { channel, attempt, self, nextId, patience, capabilities } = opening;
  const id = nextId();
  const params = { protocolVersion: channelVersions[0], capabilities, clientInfo: { ...self } };
  const body = stringifyJson({ jsonrpc: "2.0", id, method: "initialize", params });
  const answer = await channel.ask({ id, body, attempt, patience, silent: true });
  if (answer.kind === "error") {
    // Protocol section 1.13: a modern-only server says so, or does not know the method.
    if (isModernCode(answer.error.code) || answer.error.code === -32601) return false;
    throw new RelayFault("upstream_protocol");
  }
  const version = answer.result.protocolVersion;
  if (!channelVersions.some((known) => known === version)) throw new RelayFault("upstream_protocol");
  channel.version = version as string;
  if (isObject(answer.result.capabilities)) channel.capabilities = answer.result.capabilities;
  // Completion is older than the capability that declares it (2025-03-26, changelog).
  if (version === "2024-11-05") channel.capabilities = { completions: {}, ...channel.capabilities };
  await channel.tell({ jsonrpc: "2.0", method: "notifications/initialized" }, attempt);
  return true;
}
