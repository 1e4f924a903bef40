import type { World } from "../base/index.ts";
import { ago, type Html, html, page } from "../http/index.ts";
import { standing } from "./consent-parts.ts";
import type { DeviceFlow } from "./device-flow.ts";
import { paths } from "./paths.ts";

const UNKNOWN_CODE =
  "No device waits with this code. Check it, or start again on the device: a code lasts ten minutes and counts once.";

/** Where a person types the code of a device. `typed`: what the link brought; it is looked up only once the person sends it. */
export function codeForm({ typed, error }: { typed?: string; error?: string }): Promise<Response> {
  const other = error === undefined ? undefined : "That did not work. Try again.";
  const fault = error === "unknown_code" ? UNKNOWN_CODE : other;
  return page({
    title: "Connect a device",
    body: html`<h1>Connect a device</h1>
<p class="lead">${
      typed === undefined
        ? "Type the code that the app on your other device shows."
        : "Go on only if the app on your other device shows exactly this code."
    }</p>
${fault === undefined ? "" : html`<p class="error" role="alert">${fault}</p>`}
<form method="post" action="${paths.device}">
<label for="user_code">Code</label>
<input id="user_code" name="user_code" value="${typed ?? ""}" required autocomplete="off" autocapitalize="characters" spellcheck="false" placeholder="XXXX-XXXX" maxlength="40"${fault === undefined ? "" : html` aria-invalid="true"`}>
<button>Continue</button>
</form>
<p class="fine">Did somebody send you this link or a code? Then close this page: whoever started it would get your access.</p>`,
  });
}

/** Which app it is, before anything begins: a person who did not start it stops here (RFC 8628 §5.4). */
export function devicePage(flow: DeviceFlow, userCode: string, world: World): Promise<Response> {
  const { client, askedFrom } = flow.data;
  const field = html`<input type="hidden" name="user_code" value="${userCode}">`;
  return page({
    title: `Is this your ${client.name}?`,
    body: html`<h1>Did you just start ${client.name}?</h1>
<p class="lead"><strong>${client.name}</strong> runs on another device and asks to use your services through this gateway.</p>
<dl class="facts">
<dt>App</dt><dd>${client.name}<small>${standing(client, world)}</small></dd>
<dt>Code</dt><dd>${userCode}</dd>
<dt>Asked from</dt><dd>${askedFrom}<small>${ago(flow.createdAt, world.now().getTime())}</small></dd>
</dl>
<p class="notice">Go on only if you started ${client.name} on that device yourself, a moment ago. Anyone can use its name. If the code came to you in a message, a mail or a call, somebody wants your access.</p>
<div class="actions">
${action(paths.allowDevice, field, html`<button>I started it, go on</button>`)}
${action(paths.refuseDevice, field, html`<button class="plain">I did not</button>`)}
</div>
<p class="fine">Nothing is allowed yet: next you choose whose account it will use.</p>`,
  });
}

function action(path: string, field: Html, button: Html): Html {
  return html`<form method="post" action="${path}">${field}${button}</form>`;
}
