import { Secret, TOTP } from "otpauth";
import { Browser, type Page } from "../../peers/browser.ts";
import { password } from "./people.ts";
import type { Stage } from "./stage.ts";

/** How long a one-time code is shown. */
export const STEP_MS = 30_000;

/** Somebody at the sign-in and account pages, with an authenticator app whose clock goes with the gateway's. */
export class Desk {
  readonly browser: Browser;
  readonly #stage: Stage;
  readonly #gateway: { baseUrl: string };
  #secret = "";

  constructor(stage: Stage, gateway: { baseUrl: string }) {
    this.browser = stage.keep(new Browser());
    this.#stage = stage;
    this.#gateway = gateway;
  }

  open(path: string): Promise<Page> {
    return this.browser.get(this.#gateway.baseUrl + path);
  }

  async signIn(email: string, secret = password, returnTo = "/account"): Promise<Page> {
    await this.open(`/login?${new URLSearchParams({ return_to: returnTo })}`);
    return this.press("/login", { email, password: secret });
  }

  /** The form that goes exactly there. */
  press(action: string, fields: Record<string, string> = {}): Promise<Page> {
    return this.browser.submitForm((form) => form.action === action, fields);
  }

  typeCode(code: string): Promise<Page> {
    return this.press("/login/code", { code });
  }

  code(): string {
    const totp = new TOTP({ secret: Secret.fromBase32(this.#secret) });
    return totp.generate({ timestamp: this.#stage.now().getTime() });
  }

  /** On the account page of somebody who has just signed in; uses the present code up. */
  async turnCodesOn(): Promise<Page> {
    await this.open("/account");
    const page = await this.press("/account/codes");
    this.#secret = /<code>([A-Z2-7 ]+)<\/code>/.exec(page.html)?.[1]?.replaceAll(" ", "") ?? "";
    return this.press("/account/codes/confirm", { code: this.code() });
  }

  wait(ms: number): void {
    this.#stage.advance(ms);
  }

  /** 200 when this browser is signed in. */
  async session(): Promise<number> {
    return (await this.open("/api/session")).status;
  }

  /** The `Cookie` header this browser sends. */
  cookies(): string {
    const visible = this.browser.cookies.visible(new URL(this.#gateway.baseUrl));
    return visible.map(({ name, value }) => `${name}=${value}`).join("; ");
  }
}
