import type { AnswerBody, World } from "../base/index.ts";
import { type Attempt, type Attempted, refusal } from "./attempt.ts";
import { Channel, type ChannelOptions, type Line, MAX_MESSAGE, NotTaken } from "./channel.ts";
import { post } from "./exchange.ts";
import { RelayFault, relayFault } from "./fault.ts";
import type { Patience } from "./patience.ts";
import { addExtraHeaders } from "./request.ts";
import { SseReader } from "./sse.ts";

/** Of the address in the `endpoint` event. */
const MAX_ENDPOINT = 4096;

/**
 * One connection of the transport of 2024-11-05, "HTTP with SSE": a GET whose stream carries everything from the upstream,
 * and an address, told on that stream, that takes what we send.
 */
export class SseLine implements Line {
  readonly #world: World;
  readonly #attempt: Attempt;
  readonly #ending = new AbortController();
  readonly #endpoint = Promise.withResolvers<URL>();
  #body: AnswerBody | undefined;
  #channel: Channel | undefined;

  private constructor(world: World, attempt: Attempt) {
    this.#world = world;
    this.#attempt = attempt;
    // Who waits for it hears of a failure; there may be nobody.
    this.#endpoint.promise.catch(() => {});
  }

  /** Opens a connection, up to its address. Throws `RelayFault`, and `NotTaken` when the upstream refuses. */
  static async open(
    world: World,
    attempt: Attempt,
    options: ChannelOptions,
    patience: Patience,
  ): Promise<Channel> {
    const line = new SseLine(world, attempt);
    const channel = new Channel(line, options);
    line.#channel = channel;
    const leave = () => channel.lose(patience.ended!);
    patience.addEventListener("abort", leave);
    try {
      if (patience.ended) throw patience.ended;
      await line.#listen();
      await line.#endpoint.promise;
      return channel;
    } catch (error) {
      channel.lose(new RelayFault("upstream_unreachable"));
      throw patience.ended ?? relayFault(error);
    } finally {
      patience.removeEventListener("abort", leave);
    }
  }

  async send(message: string, attempt: Attempt, patience: Patience): Promise<void> {
    const url = await this.#endpoint.promise;
    const { call } = attempt;
    const headers: Record<string, string> = { "content-type": "application/json" };
    const version = this.#channel?.version;
    if (version !== undefined) headers["mcp-protocol-version"] = version;
    attempt.authorize(headers);
    addExtraHeaders(headers, call);
    const answer = await post(this.#world.outbound, {
      url,
      headers,
      body: message,
      patience,
      tls: call.upstream.tls,
    });
    if (answer.kind === "refused") throw new NotTaken(whatItMeans(refusal(answer)));
  }

  close(): void {
    this.#endpoint.reject(new RelayFault("upstream_unreachable", { retryable: true }));
    this.#ending.abort();
    this.#body?.destroy();
  }

  async #listen(): Promise<void> {
    const { url, timeoutMs, tls } = this.#attempt.call.upstream;
    const headers: Record<string, string> = { accept: "text/event-stream" };
    this.#attempt.authorize(headers);
    const answer = await this.#world.outbound.request(url, {
      method: "GET",
      headers,
      signal: this.#ending.signal,
      headersTimeoutMs: timeoutMs,
      // Nothing may happen on it for long; who does not use it any more closes it.
      bodyTimeoutMs: 0,
      tls,
      standing: true,
    });
    this.#body = answer.body;
    const type = String(answer.headers["content-type"] ?? "")
      .split(";", 1)[0]!
      .trim()
      .toLowerCase();
    if (answer.statusCode < 200 || answer.statusCode > 299) {
      const refused = {
        kind: "refused",
        status: answer.statusCode,
        ours: false,
        headers: answer.headers,
      } as const;
      const meaning = refusal(refused);
      throw meaning ? new NotTaken(meaning) : new RelayFault("upstream_protocol");
    }
    if (type !== "text/event-stream" || answer.headers["content-encoding"] !== undefined)
      throw new RelayFault("upstream_protocol");
    void this.#read(answer.body);
  }

  async #read(body: AnswerBody): Promise<void> {
    const channel = this.#channel!;
    const reader = new SseReader(MAX_MESSAGE, (event, data) => this.#other(event, data));
    try {
      for await (const chunk of body)
        for (const data of reader.push(chunk)) channel.received(data, this.#attempt);
      channel.lose(new RelayFault("upstream_unreachable"));
    } catch (error) {
      const known = relayFault(error);
      const fault =
        known instanceof RelayFault ? known : new RelayFault("upstream_protocol", { cause: error });
      if (fault !== known) this.#world.log.error("relay.stream_failed", { error });
      this.#endpoint.reject(fault);
      channel.lose(fault);
    }
  }

  /** 2024-11-05 "HTTP with SSE": the first event names the address. It stays the first one's word. */
  #other(event: string, data: string): void {
    if (event !== "endpoint") return;
    const { url } = this.#attempt.call.upstream;
    const endpoint = data.length > MAX_ENDPOINT ? null : URL.parse(data.trim(), url.href);
    // The credential goes nowhere but to the origin it was given for (R9).
    if (endpoint && endpoint.origin === url.origin && endpoint.username === "" && endpoint.password === "")
      this.#endpoint.resolve(endpoint);
    else this.#endpoint.reject(new RelayFault("upstream_protocol"));
  }
}

/** A status that says nothing about the credential or the moment: the connection is not known there any more. */
function whatItMeans(general: Attempted | undefined): Attempted | "lost" {
  return general ?? "lost";
}
