import type { Route } from "../http/index.ts";
import type { EndedSession, SignInProvider } from "../identity/index.ts";
import { accountRoutes } from "./account-routes.ts";
import type { OidcProvider } from "./config.ts";
import { Discovery } from "./discovery.ts";
import { formOrigin, type SsoParts, vouching } from "./parts.ts";
import { signInRoutes } from "./routes.ts";
import { samlRoutes } from "./saml-routes.ts";
import { signOutAddress } from "./sign-out.ts";
import { backChannelRoutes } from "./sign-out-routes.ts";

/** Signing in elsewhere, with the providers of the configuration. */
export class Sso {
  readonly #parts: SsoParts;
  readonly #discoveries = new Map<string, Discovery>();

  constructor(parts: Omit<SsoParts, "discoveryOf">) {
    this.#parts = { ...parts, discoveryOf: (provider) => this.#discoveryOf(provider) };
  }

  routes(): Route[] {
    const parts = this.#parts;
    return [
      ...signInRoutes(parts),
      ...samlRoutes(parts),
      ...backChannelRoutes(parts),
      ...accountRoutes(parts),
    ];
  }

  /** At the start, before anybody is served: what belongs to providers that the configuration does not have any more ends. */
  async reconcile(): Promise<void> {
    const { database, identities, sso } = this.#parts;
    const usable = sso.providers.map((one) => ({ provider: vouching(one), issuer: one.issuer }));
    await database.transaction((tx) => identities.reconcile(tx, usable));
  }

  /** The buttons of the sign-in page. */
  buttons(): SignInProvider[] {
    return this.#parts.sso.providers.map((one) => ({ id: one.id, name: one.name, origin: formOrigin(one) }));
  }

  /** Where the browser goes on to after it was signed out here (identity/routes.ts). */
  async afterSignOut(ended: EndedSession): Promise<URL | undefined> {
    const provider = this.#parts.sso.providers.find((one) => vouching(one) === ended.provider);
    return provider?.type === "oidc" ? signOutAddress(this.#parts, provider, ended) : undefined;
  }

  #discoveryOf(provider: OidcProvider): Discovery {
    const known = this.#discoveries.get(provider.id);
    if (known) return known;
    const made = new Discovery(this.#parts.world, provider);
    this.#discoveries.set(provider.id, made);
    return made;
  }
}
