import type { Settings, World } from "../base/index.ts";
import { type Html, html, page } from "../http/index.ts";
import type { ConsentFlow } from "./consent-flow.ts";
import {
  denyForm,
  displayOf,
  errorLine,
  facts,
  flowField,
  notYouForm,
  signInPath,
  warnings,
} from "./consent-parts.ts";
import type { SignedIn } from "./parts.ts";
import { consentPath, paths } from "./paths.ts";
import { formActionSource } from "./redirect-uri.ts";

interface IdentityPage {
  flow: ConsentFlow;
  session?: SignedIn;
  error?: string;
  settings: Settings;
  world: World;
}

/** Who are you, and may this client act for you? Choosing an identity is the approval (CB-14). */
export function identityPage({ flow, session, error, settings, world }: IdentityPage): Promise<Response> {
  const { client, redirectUri } = flow.data;
  return page({
    title: `Allow ${client.name}?`,
    formActions: [formActionSource(redirectUri)],
    body: html`<h1>Allow ${client.name}?</h1>
<p class="lead"><strong>${client.name}</strong> wants to use your services through this gateway. ${session ? "Choose whose account it will use." : "First say who you are."}</p>
${errorLine(error)}
${facts(flow, world)}
${warnings(flow)}
${alreadyChosen(flow)}
${session ? signedInForm(flow, session) : signIn(flow)}
${keyForm(flow, session !== undefined)}
${settings.enforceAuthOnInference ? "" : skipForm(flow)}
<div class="actions">${denyForm(flow)}</div>`,
  });
}

/** Back from the services page: nothing is lost until somebody else is chosen (contract section 3). */
function alreadyChosen(flow: ConsentFlow): Html {
  const { choice } = flow.data;
  if (choice === undefined) return html``;
  return html`<p>You chose <strong>${displayOf(choice)}</strong>. <a href="${consentPath("services", flow.id)}">Go back to the services</a>.
If you choose another account, what you just connected is dropped.</p>`;
}

function signedInForm(flow: ConsentFlow, session: SignedIn): Html {
  return html`<dl class="facts">
<dt>You are</dt><dd>${session.name}<small>${session.email}, signed in ${howSignedIn[session.method] ?? "here"}</small></dd>
</dl>
<div class="actions"><form method="post" action="${paths.chooseUser}">
${flowField(flow)}<input type="hidden" name="user_id" value="${session.userId}">
<button>Allow as ${session.name}</button>
</form>${notYouForm(flow)}</div>`;
}

const howSignedIn: Record<string, string> = {
  password: "with a password",
  "password+totp": "with a password and a one-time code",
  passkey: "with a passkey",
  link: "with a one-time link",
  sso: "with single sign-on",
};

function signIn(flow: ConsentFlow): Html {
  return html`<p><a class="button" href="${signInPath(flow.id)}">Sign in</a></p>`;
}

/** Open where it is one of two ways, folded away where a button above is all that most people need. */
function keyForm(flow: ConsentFlow, folded: boolean): Html {
  const form = html`<form method="post" action="${paths.chooseKey}">
${flowField(flow)}
<label for="vk">Virtual key</label>
<input id="vk" name="vk" type="password" required autocomplete="off" spellcheck="false" placeholder="sk-bf-…" aria-describedby="vk-hint">
<p class="hint" id="vk-hint">The key that your administrator gave you.</p>
<button class="quiet">Allow with this key</button>
</form>`;
  if (folded) return html`<details><summary>Use a virtual key instead</summary>${form}</details>`;
  return html`<p class="or">or</p>${form}`;
}

function skipForm(flow: ConsentFlow): Html {
  return html`<p class="or">or</p>
<form method="post" action="${paths.skip}">${flowField(flow)}<button class="quiet">Allow without an account</button></form>
<p class="fine">What you connect then belongs to this app alone and ends with it.</p>`;
}
