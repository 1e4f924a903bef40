import { type Html, html, page } from "../http/index.ts";

const messages: Record<string, string> = {
  wrong_credentials: "E-mail and password do not match an account. Check both and try again.",
  rate_limited: "Too many tries. Wait a few minutes and try again.",
  invalid_email: "Enter an e-mail address like name@example.com.",
  email_taken: "Another account has this e-mail address. Choose a different one.",
  invalid_password: "Choose a password of 12 to 256 characters.",
};

/** Only sentences of this table reach a page; an unknown code says something general (attack CB-20). */
function errorNote(code: string | undefined): Html {
  if (code === undefined) return html``;
  return html`<p class="error" role="alert">${messages[code] ?? "That did not work. Try again."}</p>`;
}

export function signInPage(options: { returnTo: string; error?: string }): Promise<Response> {
  return page({
    title: "Sign in",
    body: html`<h1>Sign in</h1>
<p class="lead">Use your account on this gateway.</p>
${errorNote(options.error)}
<form method="post" action="/login">
<input type="hidden" name="return_to" value="${options.returnTo}">
<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>`,
  });
}

export function setupPage(error?: string): Promise<Response> {
  return page({
    title: "Set up",
    body: html`<h1>Make the first administrator</h1>
<p>This account configures upstream servers and virtual keys. The link that brought you here works once.</p>
${errorNote(error)}
<form method="post" action="/setup">
<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="12" maxlength="256" required aria-describedby="password-hint">
<p class="hint" id="password-hint">At least 12 characters.</p>
<button type="submit">Create account</button>
</form>`,
  });
}

/** For the person of a one-time link; `email` says whose password it will be. */
export function passwordPage(email: string, error?: string): Promise<Response> {
  return page({
    title: "Choose a password",
    body: html`<h1>Choose your password</h1>
<p>This sets the password of <strong>${email}</strong> and signs its other browsers out. The link that brought you here works once.</p>
${errorNote(error)}
<form method="post" action="/password">
<input type="hidden" name="email" autocomplete="username" value="${email}">
<label for="password">New password</label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="12" maxlength="256" required autofocus aria-describedby="password-hint">
<p class="hint" id="password-hint">At least 12 characters.</p>
<button type="submit">Set password and sign in</button>
</form>`,
  });
}
