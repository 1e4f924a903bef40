import { type Html, html, page } from "../http/index.ts";
import type { Identity, User } from "../identity/index.ts";
import type { SsoProvider } from "./config.ts";
import { signInOrigins, vouching } from "./parts.ts";

export interface IdentitiesPageContent {
  person: Pick<User, "email" | "name">;
  identities: readonly Identity[];
  providers: readonly SsoProvider[];
  /** Whether the sign-in is recent enough to change something. */
  isFresh: boolean;
}

/** Every account of a person elsewhere, and what can be linked. */
export function identitiesPage(content: IdentitiesPageContent): Promise<Response> {
  const { person, identities, providers, isFresh } = content;
  const linkable = providers.filter((one) => !identities.some(({ provider }) => provider === vouching(one)));
  return page({
    title: "Accounts you sign in with",
    formActions: signInOrigins({ providers: linkable }),
    body: html`<h1>Accounts you sign in with</h1>
<p class="lead">For ${person.name} (${person.email}).</p>
${isFresh ? "" : signInAgain()}
${identities.length === 0 ? html`<p>No account elsewhere is linked.</p>` : identityList(content)}
${linkable.map((provider) => linkForm(provider, isFresh))}`,
  });
}

function signInAgain(): Html {
  return html`<p role="status">To change something here, <a href="/login?return_to=%2Faccount%2Fidentities">sign in again</a>: your last sign-in was more than ten minutes ago.</p>`;
}

function identityList({ identities, providers, isFresh }: IdentitiesPageContent): Html {
  const nameOf = (provider: string) =>
    providers.find((one) => vouching(one) === provider)?.name ?? "a provider that is not used any more";
  return html`<ul class="services">
${identities.map(
  ({ id, display, provider }) => html`<li>
<div><strong>${display}</strong><br><span class="fine">at ${nameOf(provider)}</span></div>
<form method="post" action="/account/identities/unlink">
<input type="hidden" name="identity_id" value="${id}">
<button class="quiet" type="submit" aria-label="Unlink ${display}"${isFresh ? "" : html` disabled`}>Unlink</button>
</form>
</li>`,
)}
</ul>`;
}

function linkForm({ id, name }: SsoProvider, isFresh: boolean): Html {
  return html`<form method="post" action="/account/identities/link/${id}">
<button type="submit"${isFresh ? "" : html` disabled`}>Link an account at ${name}</button>
</form>`;
}
