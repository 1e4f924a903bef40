/** A gateway that runs, as a journey sees it: an address and what its operator holds. */
export interface RunningGateway {
  /** The public origin, without a slash at the end. */
  baseUrl: string;
  /** The one-time link for the first administrator, as printed at the start. */
  setupLink: string;
  /** `POSTERN_ADMIN_TOKEN`. */
  adminToken: string;
}
