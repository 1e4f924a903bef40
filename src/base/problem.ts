/** What went wrong, in the one vocabulary that every door (envelope, page, OAuth, JSON-RPC) translates. */
export const problemStatus = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  gone: 410,
  precondition_failed: 412,
  too_large: 413,
  unsupported_type: 415,
  misdirected: 421,
  unprocessable: 422,
  too_many: 429,
  internal: 500,
  upstream: 502,
  unavailable: 503,
  upstream_timeout: 504,
} as const;

export type ProblemKind = keyof typeof problemStatus;

export type Fields = Record<string, unknown>;

export interface ProblemDetails {
  /** The request field at fault, as the caller wrote it. */
  param?: string;
  /** Seconds until trying again can help; becomes `Retry-After`. */
  retryAfter?: number;
  /** For the log only; never reaches the caller. */
  log?: Fields;
  cause?: unknown;
  /** Extra response headers, for example `Allow` or `WWW-Authenticate`. */
  headers?: Record<string, string>;
}

/**
 * A refusal the caller can act on. `message` is written for the caller and says what to do next; `code` is a stable
 * snake_case word listed in docs/guide/errors.md; `log` is for operators.
 */
export class Problem extends Error {
  readonly kind: ProblemKind;
  readonly code: string;
  readonly param?: string;
  readonly retryAfter?: number;
  readonly log: Fields;
  readonly headers: Record<string, string>;

  constructor(kind: ProblemKind, code: string, message: string, details: ProblemDetails = {}) {
    super(message, { cause: details.cause });
    this.name = "Problem";
    this.kind = kind;
    this.code = code;
    this.param = details.param;
    this.retryAfter = details.retryAfter;
    this.log = details.log ?? {};
    this.headers = details.headers ?? {};
  }

  get status(): number {
    return problemStatus[this.kind];
  }
}
