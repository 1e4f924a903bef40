import { ago, type Html, html, page, raw } from "../http/index.ts";
import { agentName } from "./agent-name.ts";
import { errorNote } from "./page-errors.ts";
import type { Passkey } from "./passkeys.ts";
import type { OpenSession, SignInMethod } from "./sessions.ts";
import type { TotpSetup } from "./totp.ts";
import type { User } from "./user-rows.ts";

export interface AccountPage {
  user: User;
  /** Whether the sign-in is recent enough to change how the person signs in. */
  isFresh: boolean;
  passkeys: readonly Passkey[];
  /** Whether passkeys work at this address. */
  canAddPasskey: boolean;
  /** One-time codes. */
  codes: boolean;
  sessions: readonly OpenSession[];
  currentSession: string;
  /** How many accounts elsewhere the person signs in with. */
  linked: number;
  error?: string;
  done?: string;
  /** Milliseconds since 1970. */
  now: number;
  /** Where signing out may lead. */
  signInOrigins?: readonly string[];
}

const doneTexts: Record<string, string> = {
  password: "Your password is changed. Other browsers are signed out.",
  passkey: "The passkey is added. You can sign in with it from now on.",
  passkey_removed: "The passkey is removed.",
  renamed: "The passkey has its new name.",
  codes_on: "One-time codes are on. You need one after your password from now on.",
  codes_off: "One-time codes are off.",
  session: "That browser is signed out.",
  sessions: "Every other browser is signed out.",
};

/** What a person sees and changes about their own account. */
export function accountPage(content: AccountPage): Promise<Response> {
  const { user, isFresh, error, done } = content;
  return page({
    title: "Your account",
    formActions: [...(content.signInOrigins ?? [])],
    body: html`<h1>Your account</h1>
${errorNote(error)}
${done !== undefined && Object.hasOwn(doneTexts, done) ? html`<p class="done" role="status">${doneTexts[done]}</p>` : ""}
<dl class="facts"><dt>Name</dt><dd>${user.name}</dd><dt>E-mail</dt><dd>${user.email}</dd>
<dt>Role</dt><dd>${user.role === "admin" ? "Administrator" : "Member"}</dd></dl>
${isFresh ? "" : html`<p class="notice">To change how you sign in, <a href="/login?return_to=%2Faccount">sign in again</a>: your last sign-in was more than ten minutes ago.</p>`}
${passwordSection(content)}
${passkeySection(content)}
${codeSection(content)}
${content.linked === 0 ? "" : html`<h2>Accounts elsewhere</h2><p>You can sign in with ${content.linked === 1 ? "one account" : `${content.linked} accounts`} elsewhere. <a href="/account/identities">See and unlink</a></p>`}
${sessionSection(content)}
<div class="actions"><form method="post" action="/logout"><button class="quiet" type="submit">Sign out</button></form> <a class="button plain" href="/connections">My connections</a></div>`,
  });
}

function passwordSection({ user, isFresh }: AccountPage): Html {
  const present = html`<label for="current">Present password</label>
<input id="current" name="current_password" type="password" autocomplete="current-password" required>`;
  return html`<h2>Password</h2>
${user.hasPassword ? "" : html`<p>You have no password.</p>`}
<details><summary>${user.hasPassword ? "Change it" : "Set one"}</summary>
<form method="post" action="/account/password">
<input type="hidden" name="email" autocomplete="username" value="${user.email}">
${user.hasPassword ? present : ""}
<label for="new">New password</label>
<input id="new" name="new_password" type="password" autocomplete="new-password" minlength="12" maxlength="256" required aria-describedby="new-hint">
<p class="hint" id="new-hint">At least 12 characters. Your other browsers will be signed out.</p>
<button type="submit"${user.hasPassword ? "" : locked(isFresh)}>${user.hasPassword ? "Change password" : "Set password"}</button>
</form></details>`;
}

function passkeySection({ passkeys, canAddPasskey, isFresh, now }: AccountPage): Html {
  return html`<h2>Passkeys</h2>
${passkeys.length === 0 ? html`<p>A passkey signs you in with your fingerprint, face or PIN, without password and code.</p>` : html`<ul class="services">${passkeys.map((one) => passkeyItem(one, isFresh, now))}</ul>`}
${
  canAddPasskey
    ? html`<form class="row" method="post" action="/account/passkeys/new">
<label for="passkey-name">Name of a new passkey</label>
<div class="inline"><input id="passkey-name" name="name" maxlength="64" required placeholder="This laptop"> <button class="quiet" type="submit"${locked(isFresh)}>Add</button></div>
</form>`
    : html`<p class="fine">Passkeys need a host name. Open this gateway by its name to add one.</p>`
}`;
}

function passkeyItem({ id, name, createdAt, lastUsedAt }: Passkey, isFresh: boolean, now: number): Html {
  return html`<li><span class="what"><strong>${name}</strong>
<span class="fine">Added ${ago(createdAt, now)}, ${lastUsedAt === undefined ? "never used" : `used ${ago(lastUsedAt, now)}`}</span>
<details><summary>Rename</summary><form class="inline" method="post" action="/account/passkeys/${id}/rename">
<input name="name" maxlength="64" required value="${name}" aria-label="New name of ${name}"> <button class="quiet" type="submit">Save</button></form></details></span>
<form method="post" action="/account/passkeys/${id}/remove"><button class="button quiet" type="submit" aria-label="Remove ${name}"${locked(isFresh)}>Remove</button></form></li>`;
}

function codeSection({ codes, isFresh, user }: AccountPage): Html {
  if (codes)
    return html`<h2>One-time codes</h2>
<p>On: after your password you type a code of your authenticator app.</p>
<form method="post" action="/account/codes/off"><button class="quiet" type="submit"${locked(isFresh)}>Turn off</button></form>`;
  return html`<h2>One-time codes</h2>
<p>${user.hasPassword ? "Off: your password alone signs you in." : "They stand beside a password, which you do not have."}</p>
${user.hasPassword ? html`<form method="post" action="/account/codes"><button class="quiet" type="submit"${locked(isFresh)}>Set up</button></form>` : ""}`;
}

function sessionSection({ sessions, currentSession, now }: AccountPage): Html {
  return html`<h2>Where you are signed in</h2>
<ul class="services">${sessions.map(
    ({
      id,
      agent,
      method,
      startedAt,
      lastSeenAt,
    }) => html`<li><span class="what"><strong>${agentName(agent)}</strong>
<span class="fine">${methods[method]}, ${ago(startedAt, now)}</span>
<span class="fine">Last seen ${ago(lastSeenAt, now)}</span></span>
${id === currentSession ? html`<span class="state connected">This one</span>` : html`<form method="post" action="/account/sessions/${id}/end"><button class="button quiet" type="submit" aria-label="Sign out ${agentName(agent)}">Sign out</button></form>`}</li>`,
  )}</ul>
${sessions.length > 1 ? html`<form method="post" action="/account/sessions/end-others"><button class="quiet" type="submit">Sign out everywhere else</button></form>` : ""}`;
}

const methods: Record<SignInMethod, string> = {
  password: "Password",
  "password+totp": "Password and code",
  passkey: "Passkey",
  link: "One-time link",
  sso: "Account elsewhere",
};

/** The QR code and the secret, until the first code has come back. */
export function codeSetupPage(setup: TotpSetup, svg: string, error?: string): Promise<Response> {
  return page({
    title: "Set up one-time codes",
    body: html`<h1>Set up one-time codes</h1>
${errorNote(error)}
<ol><li>Scan this with your authenticator app, or type the key into it.</li><li>Type the code that the app shows.</li></ol>
<div class="qr">${raw(svg)}</div>
<dl class="facts"><dt>Key</dt><dd><code>${setup.secret.replaceAll(/(.{4})(?=.)/g, "$1 ")}</code></dd></dl>
<p class="fine">Both are shown until the first code was right, and never again.</p>
<form method="post" action="/account/codes/confirm">
<label for="code">Code</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="16" required autofocus>
<div class="actions"><button type="submit">Turn on</button> <a class="button plain" href="/account">Not now</a></div>
</form>`,
  });
}

function locked(isFresh: boolean): Html {
  return isFresh ? html`` : html` disabled`;
}
