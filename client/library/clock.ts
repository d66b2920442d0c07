/**
 * Time and chance as the client uses them, so that tests can replace both. No behaviour of its own.
 */

/** Time and randomness. */
export interface Clock {
  /** Wall time, epoch ms. */
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** Runs `fn` once after `ms`; returns a function that cancels it. */
  after(ms: number, fn: () => void): () => void;
}

/** The real clock. Its timers keep the process alive until they are cancelled. */
export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, fn) {
    const id = setTimeout(fn, ms);
    return () => clearTimeout(id);
  },
};

/**
 * A wait that can be cut short: `done` resolves after `ms`, or when `stop` is called.
 */
export function pause(clock: Clock, ms: number): { done: Promise<void>; stop: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(ms, resolve);
  return {
    done: promise,
    stop() {
      cancel();
      resolve();
    },
  };
}
