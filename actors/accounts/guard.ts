/**
 * The guard actor: how often an address may register, and how long an account or an address has to
 * wait after failed log-ins. One for the node, so that a client gains nothing by opening
 * connections on several workers. Bounded: what it remembers is forgotten in time or when full.
 */

import type { Clock } from "../ports.ts";
import type { Actor } from "../runtime/runtime.ts";

/** What the guard takes. Answers: ms to wait, 0 to go on. */
export type GuardMessage =
  | { readonly type: "register"; readonly remote: string }
  /**
   * Before a password is checked. To go on counts as a failure of the account until the result is
   * known: many attempts at once are worth no more than one after the other.
   */
  | { readonly type: "login"; readonly remote: string; readonly account: string }
  /** How it went; "unknown" when the password could not be checked. */
  | {
    readonly type: "result";
    readonly remote: string;
    readonly account: string;
    readonly result: "right" | "wrong" | "unknown";
  };

/** Settings of the guard; 0 is no limit. */
export interface GuardLimits {
  readonly registrationsPerMinute: number;
  readonly failures: number;
  /** Whether the limits per address do not hold for this one. */
  exempt(remote: string): boolean;
  /** What an address counts as: all that one household has is one. */
  network(remote: string): string;
}

const MINUTE_MS = 60_000;
/** First wait after too many failures, ms; doubles with each further one, up to the cap. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
/** Failures are forgotten after this long without one, ms. */
const FORGET_MS = 15 * MINUTE_MS;
/** An address stands for many accounts: it may fail this many times as often as one account. */
const ADDRESS_FACTOR = 10;
/** Most accounts and addresses remembered; the oldest goes. */
const MAX_REMEMBERED = 100_000;

interface Failures {
  count: number;
  lastAt: number;
}

/** See the module's header. */
export class Guard implements Actor<GuardMessage> {
  readonly #clock: Clock;
  readonly #limits: GuardLimits;
  readonly #failures = new Map<string, Failures>();
  /** Address ⇒ when its bucket of registrations is empty again, epoch ms. */
  readonly #registrations = new Map<string, number>();

  constructor(clock: Clock, limits: GuardLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  receive(m: GuardMessage): number {
    switch (m.type) {
      case "register":
        return this.#register(m.remote);
      case "login": {
        const wait = Math.max(
          this.#wait(`account ${m.account}`, this.#limits.failures),
          this.#limits.exempt(m.remote) ? 0 : this.#wait(
            `address ${this.#limits.network(m.remote)}`,
            this.#limits.failures * ADDRESS_FACTOR,
          ),
        );
        if (wait === 0) this.#failed(`account ${m.account}`);
        return wait;
      }
      case "result":
        this.#result(m);
        return 0;
      default:
        return m satisfies never;
    }
  }

  /** A bucket that holds a minute's worth and drains steadily. */
  #register(remote: string): number {
    const { registrationsPerMinute } = this.#limits;
    if (registrationsPerMinute === 0 || this.#limits.exempt(remote)) return 0;
    const network = this.#limits.network(remote);
    const now = this.#clock.now();
    const each = MINUTE_MS / registrationsPerMinute;
    const emptyAt = Math.max(now, this.#registrations.get(network) ?? 0);
    const wait = emptyAt + each - (now + MINUTE_MS);
    if (wait > 0) return Math.ceil(wait);
    remember(this.#registrations, network, emptyAt + each);
    return 0;
  }

  #wait(key: string, allowed: number): number {
    const failures = this.#failures.get(key);
    if (failures === undefined || allowed === 0 || failures.count < allowed) return 0;
    const now = this.#clock.now();
    if (now - failures.lastAt > FORGET_MS) {
      this.#failures.delete(key);
      return 0;
    }
    const wait = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(30, failures.count - allowed));
    return Math.max(0, failures.lastAt + wait - now);
  }

  #result({ remote, account, result }: Extract<GuardMessage, { type: "result" }>): void {
    const key = `account ${account}`;
    const failures = this.#failures.get(key);
    if (result === "right") this.#failures.delete(key);
    else if (result === "unknown" && failures !== undefined) failures.count--;
    // A right password of one account does not clear an address that tries many.
    else if (result === "wrong" && !this.#limits.exempt(remote)) {
      this.#failed(`address ${this.#limits.network(remote)}`);
    }
  }

  #failed(key: string): void {
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    remember(this.#failures, key, { count, lastAt: this.#clock.now() });
  }
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MAX_REMEMBERED) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
