import type { House } from "./house.ts";
import { codeOf, led, Member, odd, type Tokens, tokensOf } from "./member.ts";
import type { Family } from "./provider.ts";
import { type Answered, Unanswered } from "./web.ts";

type Step = "consent" | "connect" | "submit" | "code" | "call" | "renew" | "revoke" | "end";

const services = "/oauth/consent/mcps";

/**
 * Somebody who lives with a gateway that dies: connects, calls, renews and takes back, one thing after the other, and does
 * again what got no answer, as a person reloads a page and a client tries once more. Keeps a book on what must not be.
 */
export class Resident {
  readonly name: string;
  readonly done: Record<string, number> = {};
  readonly wrong: string[] = [];
  prompts = 0;
  readonly #house: House;
  readonly #member: Member;
  readonly #random: () => number;
  #isConnected = false;
  #hasLeft = false;
  #renewal: Promise<unknown> = Promise.resolve();
  /** What the provider must have heard of in the end. */
  readonly #givenUp: Family[] = [];
  /** What it did last. */
  readonly #last: string[] = [];
  readonly #excused = new Set<Family>();
  #isBack = Promise.withResolvers<void>();

  private constructor(house: House, member: Member, random: () => number) {
    this.name = member.name;
    this.#house = house;
    this.#member = member;
    this.#random = random;
  }

  static async moveIn(house: House, name: string, random: () => number): Promise<Resident> {
    return new Resident(house, await Member.withKey(house, name), random);
  }

  /** The gateway serves again. */
  back(): void {
    this.#isBack.resolve();
    this.#isBack = Promise.withResolvers();
  }

  leave(): void {
    this.#hasLeft = true;
    this.back();
  }

  /** Resolves when tokens that are on their way have come. */
  async renewed(): Promise<void> {
    await this.#renewal.catch(() => {});
  }

  /** Connections that were taken back, and that their provider never heard of. */
  stillAlive(): string[] {
    const alive = this.#givenUp.filter(({ ended }) => ended === "");
    return alive.map(() => `the provider never heard that ${this.name} took a connection back`);
  }

  async live(): Promise<void> {
    while (!this.#hasLeft) {
      try {
        await this.#oneVisit();
      } catch (error) {
        const { message } = error as Error;
        // Thirty deaths are fifteen minutes by the gateway's clock: a consent that is begun and not finished in them is over.
        if (message.includes('"flow_expired"')) this.#count("consent expired");
        else if (!this.#hasLeft) this.wrong.push(`${this.name}: ${message}`);
      }
    }
  }

  async #oneVisit(): Promise<void> {
    let tokens = await this.#consent();
    const steps = 4 + Math.floor(this.#random() * 12);
    for (let step = 0; step < steps && !this.#hasLeft && tokens; step++) {
      if (this.#random() < 0.2) tokens = await this.#renew(tokens);
      else await this.#call(tokens);
    }
    if (this.#random() < 0.4) await this.#revoke();
    if (this.#random() < 0.3) await this.#end();
  }

  /** Undefined: the answer with the code or the tokens was lost after the commit; the client asks anew. */
  async #consent(): Promise<Tokens | undefined> {
    const member = this.#member;
    const consent = await this.#insist("consent", () => member.begin());
    await this.#insist("consent", () => member.identify(consent));
    if (!this.#isConnected) await this.#connect(consent);
    const submitted = await this.#insist("submit", () => member.submit(consent));
    // A consent that is over has given what it was for: `call` finds everything connected, or says so.
    if (submitted.status === 409) return this.#again("submit");
    const code = codeOf(submitted);
    const redeemed = await this.#insist("code", () => member.redeem(code, consent));
    if (redeemed.status === 400) return this.#again("code");
    return tokensOf(redeemed);
  }

  async #connect(consent: { flowId: string; verifier: string }): Promise<void> {
    const member = this.#member;
    for (let isThere = false; !isThere; ) {
      const back = await this.#insist("connect", () => member.leave(consent));
      const answered = await this.#insist("connect", () => member.comeBack(back));
      if (answered.status !== 303 && answered.status !== 410) throw odd("the services page", answered);
      const page = await this.#insist("connect", () =>
        member.web.get(`${services}?flow_id=${consent.flowId}`),
      );
      isThere = page.text.includes("Connected just now");
      if (!isThere) this.#count("connect again");
    }
    led(await this.#insist("connect", () => member.giveHeader(consent)), services);
    this.#isConnected = true;
  }

  async #again(lost: string): Promise<undefined> {
    this.#count(`${lost} answer lost`);
    return undefined;
  }

  async #call(tokens: Tokens): Promise<void> {
    const tool = this.#random() < 0.8 ? "guarded-whoami" : "headed-whoami";
    const called = await this.#insist("call", () => this.#member.call(tokens, tool));
    if ("prompt" in called) return this.#answerPrompt(called.prompt);
    const expected = tool === "guarded-whoami" ? this.name : "by header";
    if (!("text" in called) || called.text !== expected)
      throw new Error(`a call came to ${JSON.stringify(called)}`);
  }

  /** Only where the provider has ended a family for a lost token, and once for each. */
  async #answerPrompt(link: string): Promise<void> {
    const ended = this.#house.provider
      .of(this.name)
      .find((family) => family.ended === "reuse" && !this.#excused.has(family));
    if (ended) this.#excused.add(ended);
    else {
      const known = this.#house.provider.of(this.name).map((family) => family.ended || "lives");
      this.wrong.push(
        `${this.name} was asked to sign in without a reason; families: ${known.join(", ")}; ${this.#last.join(", ")}`,
      );
    }
    this.prompts += 1;
    let answered: Answered | undefined;
    do answered = await this.#insist("connect", () => this.#member.reconnect(link)).catch(() => undefined);
    while (answered && answered.status >= 400 && answered.status !== 410);
  }

  /** Tokens whose answer was lost are given again, as long as they are asked for within half a minute. */
  async #renew(tokens: Tokens): Promise<Tokens> {
    const renewal = this.#insist("renew", () => this.#member.refresh(tokens));
    this.#renewal = renewal;
    return tokensOf(await renewal);
  }

  async #revoke(): Promise<void> {
    const family = this.#house.provider.lastUsed.get(this.name);
    const { sessions } = await this.#insist("revoke", () => this.#house.read("/api/mcp/sessions?limit=100"));
    for (const { id, kind, virtual_key } of sessions) {
      if (virtual_key?.id !== this.#member.keyId) continue;
      await this.#take(`/api/mcp/sessions/${id}`, "revoke");
      if (kind === "token" && family?.ended === "") this.#givenUp.push(family);
    }
    this.#isConnected = false;
  }

  async #end(): Promise<void> {
    const query = `bf_mode=vk&virtual_key_id=${this.#member.keyId}&limit=100`;
    const { sessions } = await this.#insist("end", () => this.#house.read(`/api/oauth2/sessions?${query}`));
    for (const { id } of sessions) await this.#take(`/api/oauth2/sessions/${id}`, "end");
  }

  /** Gone is gone, whoever heard the answer. */
  async #take(path: string, step: Step): Promise<void> {
    await this.#insist(step, () =>
      this.#house.admin("DELETE", path).catch((error: Error) => {
        if (!/: 404 /.test(error.message)) throw error;
      }),
    );
  }

  /** Does it until there is an answer. */
  async #insist<T>(step: Step, work: () => Promise<T>): Promise<T> {
    for (;;) {
      const isBack = this.#isBack.promise;
      try {
        const result = await work();
        this.#count(step);
        return result;
      } catch (error) {
        if (!(error instanceof Unanswered) || this.#hasLeft) throw error;
        this.#count("unanswered");
        if (!this.#house.gateway.isServing) await isBack;
      }
    }
  }

  #count(what: string): void {
    this.#last.push(what);
    if (this.#last.length > 30) this.#last.shift();
    this.done[what] = (this.done[what] ?? 0) + 1;
  }
}
