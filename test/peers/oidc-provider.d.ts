// The package ships no types. Only what the test peers use.
declare module "oidc-provider" {
  import type { EventEmitter } from "node:events";
  import type { IncomingMessage, ServerResponse } from "node:http";

  export interface Context {
    req: IncomingMessage;
    res: ServerResponse;
    method: string;
    path: string;
    query: Record<string, string | string[] | undefined>;
    status: number;
    type: string;
    body: unknown;
    respond?: boolean;
    oidc?: { body?: Record<string, unknown>; params?: Record<string, unknown>; client?: unknown };
    response: { get(name: string): string };
    set(name: string, value: string): void;
  }

  export interface Grant {
    addOIDCScope(scope: string): void;
    addOIDCClaims(claims: string[]): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
  }

  export interface Interaction {
    uid: string;
    prompt: {
      name: "login" | "consent";
      details: {
        missingOIDCScope?: string[];
        missingOIDCClaims?: string[];
        missingResourceScopes?: Record<string, string[]>;
      };
    };
    params: { client_id: string; scope?: string; resource?: string | string[] };
    session?: { accountId: string };
    grantId?: string;
  }

  export interface StoredToken {
    jti: string;
    accountId?: string;
    clientId?: string;
    aud?: string | string[];
    scope?: string;
    exp?: number;
    /** The thumbprint of the key that it is bound to (RFC 9449). */
    jkt?: string;
  }

  export const errors: Record<
    "InvalidTarget" | "InvalidGrant" | "InvalidRequest",
    new (
      description: string,
    ) => Error
  >;

  export interface ResourceServer {
    scope?: string;
  }

  export interface NewAccessToken {
    resourceServer: ResourceServer;
    scope?: string;
    tokenType: string;
    expiration: number;
    save(): Promise<string>;
  }

  export class Provider extends EventEmitter {
    constructor(issuer: string, configuration: Record<string, unknown>);
    readonly issuer: string;
    use(middleware: (ctx: Context, next: () => Promise<void>) => Promise<void>): this;
    callback(): (req: IncomingMessage, res: ServerResponse) => Promise<void>;
    interactionDetails(req: IncomingMessage, res: ServerResponse): Promise<Interaction>;
    interactionResult(
      req: IncomingMessage,
      res: ServerResponse,
      result: Record<string, unknown>,
      options?: { mergeWithLastSubmission?: boolean },
    ): Promise<string>;
    Grant: {
      new (properties: { accountId: string; clientId: string }): Grant;
      find(id: string): Promise<Grant | undefined>;
    };
    AccessToken: {
      new (properties: Record<string, unknown>): NewAccessToken;
      find(value: string): Promise<StoredToken | undefined>;
    };
    ResourceServer: new (
      identifier: string,
      info: Record<string, unknown>,
    ) => ResourceServer;
    registerGrantType(
      name: string,
      handler: (ctx: Context) => Promise<void>,
      parameters: readonly string[],
      repeatable: readonly string[],
    ): void;
    ClientCredentials: { find(value: string): Promise<StoredToken | undefined> };
    Client: { find(id: string): Promise<{ clientName?: string } | undefined> };
  }

  export default Provider;
}
