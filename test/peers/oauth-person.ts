import type {
  OAuthClientMetadata,
  OAuthClientProvider,
  OAuthDiscoveryState,
  StoredOAuthClientInformation,
  StoredOAuthTokens,
} from "@modelcontextprotocol/client";
import type { Browser, VisitOptions } from "./browser.ts";

export interface OAuthPersonOptions {
  redirectUrl?: string;
  metadata?: Partial<OAuthClientMetadata>;
  /** How the browser gets from the authorization URL to the redirect; default redirects alone. */
  walk?: (browser: Browser, url: URL, options: VisitOptions) => Promise<URL>;
}

/**
 * The OAuth side of an official SDK client with a person at its browser: `redirectToAuthorization` walks to the
 * client's redirect URI and keeps what came back in `callback`. Then `transport.finishAuth(person.callback)`.
 */
export class OAuthPerson implements OAuthClientProvider {
  readonly redirectUrl: string;
  callback: URLSearchParams | undefined;
  authorizationUrl: URL | undefined;
  information: StoredOAuthClientInformation | undefined;
  saved: StoredOAuthTokens | undefined;
  readonly #browser: Browser;
  readonly #options: OAuthPersonOptions;
  #verifier = "";
  #discovered: OAuthDiscoveryState | undefined;
  #states = 0;

  constructor(browser: Browser, options: OAuthPersonOptions = {}) {
    this.#browser = browser;
    this.#options = options;
    // Nobody listens there: the browser stops before it asks.
    this.redirectUrl = options.redirectUrl ?? "http://127.0.0.1:1/callback";
  }

  get clientMetadata(): OAuthClientMetadata {
    return {
      client_name: "Test client",
      redirect_uris: [this.redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      ...this.#options.metadata,
    };
  }

  state(): string {
    return `state-${++this.#states}`;
  }

  clientInformation(): StoredOAuthClientInformation | undefined {
    return this.information;
  }

  saveClientInformation(information: StoredOAuthClientInformation): void {
    this.information = information;
  }

  tokens(): StoredOAuthTokens | undefined {
    return this.saved;
  }

  saveTokens(tokens: StoredOAuthTokens): void {
    this.saved = tokens;
  }

  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    return this.#verifier;
  }

  saveDiscoveryState(state: OAuthDiscoveryState): void {
    this.#discovered = state;
  }

  discoveryState(): OAuthDiscoveryState | undefined {
    return this.#discovered;
  }

  async redirectToAuthorization(url: URL): Promise<void> {
    this.authorizationUrl = url;
    const options = { stopAt: this.redirectUrl };
    const walk = this.#options.walk ?? walkRedirects;
    this.callback = (await walk(this.#browser, url, options)).searchParams;
  }
}

async function walkRedirects(browser: Browser, url: URL, options: VisitOptions): Promise<URL> {
  const page = await browser.get(url, options);
  if (page.stoppedAt) return page.stoppedAt;
  throw new Error(
    `The authorization ended at ${page.url.href} (${page.status}): ${page.html.slice(0, 1000)}`,
  );
}
