/**
 * The time that replicas share. Left alone it is the system's. Once it follows a time it goes on from there by the monotonic
 * clock, so that neither a wrong nor a jumping system clock ends a lease early, or a grace period, or revives what has ended
 * (attack rule R23).
 */
export class Clock {
  #anchor: { time: number; at: number } | undefined;

  /** Undefined: nothing is followed, and the system's time counts. */
  now(): Date | undefined {
    const anchor = this.#anchor;
    return anchor && new Date(anchor.time + performance.now() - anchor.at);
  }

  /** `time`: milliseconds since 1970; `at`: what `performance.now()` was then. */
  follow(time: number, at: number): void {
    this.#anchor = { time, at };
  }
}
