import { type Html, html, page } from "../http/index.ts";
import { errorNote } from "./page-errors.ts";
import { createScript, signInScript } from "./passkey-script.ts";

/** Where somebody may sign in elsewhere; `/login/sso/{id}` leads there. */
export interface SignInProvider {
  id: string;
  /** For people. */
  name: string;
  /** Where its sign-in begins; only needed where that is not https. */
  origin?: string;
}

export interface SignInOptions {
  returnTo: string;
  /** Somebody else than the one who was signed in here: providers ask, also where they remember this browser. */
  again?: boolean;
  error?: string;
  providers: readonly SignInProvider[];
  /** Whether accounts of this gateway sign in by password and passkey. */
  local: boolean;
  /** Whether passkeys work at this address. */
  passkeys: boolean;
}

export function signInPage(options: SignInOptions): Promise<Response> {
  const { providers, local, passkeys, returnTo } = options;
  return page({
    title: "Sign in",
    // A form's redirects count too, and providers pass people on to sign-in hosts of their own; `https:` covers those.
    formActions: providers.length > 0 ? ["https:", ...providers.flatMap(({ origin }) => origin ?? [])] : [],
    body: html`<h1>Sign in</h1>
${providers.length > 0 ? "" : html`<p class="lead">Use your account on this gateway.</p>`}
${errorNote(options.error)}
${providers.map((provider) => providerButton(provider, options))}
${providers.length > 0 && local ? html`<p class="or">or with your account on this gateway</p>` : ""}
${local ? passwordForm(returnTo) : ""}
${passkeys ? passkeyButton(returnTo) : ""}`,
  });
}

function providerButton({ id, name }: SignInProvider, { returnTo, again }: SignInOptions): Html {
  return html`<form class="provider" method="post" action="/login/sso/${encodeURIComponent(id)}">
<input type="hidden" name="return_to" value="${returnTo}">${again ? html`<input type="hidden" name="again" value="1">` : ""}
<button class="quiet" type="submit">Sign in with ${name}</button>
</form>`;
}

function passwordForm(returnTo: string): Html {
  return html`<form method="post" action="/login">
<input type="hidden" name="return_to" value="${returnTo}">
<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>`;
}

function passkeyButton(returnTo: string): Html {
  return html`<form class="provider" method="post" action="/login/passkey">
<input type="hidden" name="return_to" value="${returnTo}">
<button class="quiet" type="submit">Sign in with a passkey</button>
</form>`;
}

/** For the code of who has proved a password. */
export function codePage(email: string, error?: string): Promise<Response> {
  return page({
    title: "One-time code",
    body: html`<h1>One-time code</h1>
<p class="lead">Type the code that your authenticator app shows for <strong>${email}</strong>.</p>
${errorNote(error)}
<form method="post" action="/login/code">
<label for="code">Code</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="16" required autofocus aria-describedby="code-hint">
<p class="hint" id="code-hint">Six digits. A new code comes every 30 seconds; each works once.</p>
<button type="submit">Sign in</button>
</form>
<p class="fine">Lost the device? An administrator can give you a link that turns the codes off. <a href="/login">Sign in as somebody else</a></p>`,
  });
}

export interface PasskeyPage {
  /** JSON, for `navigator.credentials`. */
  options: string;
  /** What the new passkey will be called; absent when one signs in. */
  name?: string;
  /** Where a sign-in leads, also after another try. */
  returnTo?: string;
}

/** Asks the browser for a passkey, or to make one. The script starts at once; the button is for another try. */
export function passkeyPage({ options, name, returnTo = "/" }: PasskeyPage): Promise<Response> {
  const isNew = name !== undefined;
  const title = isNew ? "Add a passkey" : "Use your passkey";
  return page({
    title,
    script: isNew ? createScript : signInScript,
    body: html`<h1>${title}</h1>
<p>Your browser asks you now. Follow what it shows: your fingerprint, face, PIN or security key.</p>
<noscript><p class="error">Passkeys need JavaScript, which is off in this browser.</p></noscript>
<p class="error" id="passkey-failed" role="alert" hidden>Your browser gave no passkey. Try again, or go back and use another way.</p>
<form id="passkey" method="post" action="${isNew ? "/account/passkeys" : "/login/passkey/answer"}" data-options="${options}">
<input type="hidden" name="credential" value="">
${isNew ? html`<input type="hidden" name="name" value="${name}">` : html`<input type="hidden" name="return_to" value="${returnTo}">`}
<div class="actions"><button type="submit">Try again</button> <a class="button plain" href="${isNew ? "/account" : `/login?${new URLSearchParams({ return_to: returnTo })}`}">Back</a></div>
</form>`,
  });
}
