/*
 * The only scripts of these pages: browsers make and use passkeys by script alone (WebAuthn §5.1). Each reads the options that
 * its page's form carries, asks the browser, and sends the answer by that form.
 */

const ask = (call: string) => `
const form = document.getElementById("passkey");
const failed = document.getElementById("passkey-failed");
const ask = async () => {
  failed.hidden = true;
  try {
    const options = JSON.parse(form.dataset.options);
    const credential = await ${call};
    form.elements.credential.value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch {
    failed.hidden = false;
  }
};
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
ask();
`;

export const signInScript = ask(
  "navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) })",
);

export const createScript = ask(
  "navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })",
);
