import { html, page } from "../http/index.ts";
import { errorNote } from "./page-errors.ts";

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
