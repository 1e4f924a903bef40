/** What `error` in a page's URL may say; free text is never shown (CB-20). */
export const consentErrors = {
  identity_required: "First choose who you are.",
  invalid_key: "This virtual key is not valid. Check it and try again.",
  sign_in_first: "You are not signed in here. Sign in, or use a virtual key.",
  other_account: "Another account is signed in now. Choose again who you are.",
  skip_not_allowed: "This gateway needs to know who you are. Use a virtual key, or sign in.",
  address_not_allowed:
    "This account may not use what the app asks for. Choose another one, or ask your administrator.",
  identity_disabled: "This account can no longer be used. Choose another one.",
  connect_declined: "The service did not connect: access was declined there. You can try again.",
  code_unavailable: "Its sign-in gives no codes to this gateway. Connect it without one.",
  connect_failed: "The service could not be connected. Try again, or connect it later.",
} as const;

export type ConsentError = keyof typeof consentErrors;

export function consentErrorText(code: string | undefined): string | undefined {
  if (code === undefined) return undefined;
  return Object.hasOwn(consentErrors, code)
    ? consentErrors[code as ConsentError]
    : "That did not work. Try again.";
}
