import type { Hidden } from "./hidden.ts";

/** Whom somebody else vouches for, and with what; for as long as one request takes, and written nowhere. */
export interface Vouched {
  issuer: string;
  subject: string;
  /** What the issuer says of the subject beyond that; tells two tokens apart that may not do the same. */
  standing: string;
  token: Hidden;
}
