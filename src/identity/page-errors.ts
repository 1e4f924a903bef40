import { type Html, html } from "../http/index.ts";

const messages: Record<string, string> = {
  wrong_credentials: "E-mail and password do not match an account. Check both and try again.",
  wrong_code: "This code is wrong or was used already. Wait for the next one and try again.",
  sign_in_ended: "This took too long, or the code was wrong too often. Sign in again.",
  sign_in_again: "Sign in again to change this: your last sign-in was more than ten minutes ago.",
  rate_limited: "Too many tries. Wait a few minutes and try again.",
  invalid_email: "Enter an e-mail address like name@example.com.",
  email_taken: "Another account has this e-mail address. Choose a different one.",
  invalid_password: "Choose a password of 12 to 256 characters.",
  common_password:
    "This password is easy to guess: it is a common one, or close to your name or e-mail address. Choose another, for example four words that do not belong together.",
  breached_password: "This password has become known in a breach elsewhere. Choose another.",
  wrong_password: "This is not your present password. Check it and try again.",
  has_password: "You have a password already. Change it with the present one.",
  passkey_refused: "This passkey was not accepted. Try again, or use another way.",
  passkey_taken: "This passkey is registered here already.",
  passkey_not_found: "You have no such passkey any more.",
  passkeys_unavailable: "Passkeys need a host name. Open this gateway by its name instead of an IP address.",
  too_many_passkeys: "You have twenty passkeys. Remove one first.",
  last_way_in: "This is the only way you have to sign in. Set a password or add another way first.",
  totp_on: "One-time codes are set up already.",
  totp_not_begun: "The set-up of one-time codes is over. Begin it again.",
  browser_session_not_found: "That browser is signed out already.",
};

/** Only sentences of this table reach a page; an unknown code says something general (attack CB-20). */
export function errorNote(code: string | undefined): Html {
  if (code === undefined) return html``;
  const text = Object.hasOwn(messages, code) ? messages[code]! : "That did not work. Try again.";
  return html`<p class="error" role="alert">${text}</p>`;
}
