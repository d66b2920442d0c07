/**
 * The guard actor: how often an address may register and log in, and how long somebody has to wait
 * after failed log-ins. One for the node, so that a client gains nothing by opening connections on
 * several workers; the guards of a cluster tell each other of failures. Bounded: what it remembers is
 * forgotten in time or when full.
 *
 * Failures are counted for an account from one address, so that a stranger's guesses keep nobody else
 * out; for an address over all accounts; and for an account over all addresses, which slows down
 * guesses from many addresses and holds for nobody who comes from where the account's owner has
 * logged in before.
 */

import type { Clock } from "../ports.ts";
import type { Actor } from "../runtime/runtime.ts";
import { MinuteBuckets } from "./buckets.ts";

/** Who tries to log in, to what. */
export interface Attempt {
  readonly remote: string;
  /** The account, under the same name however it is asked for. */
  readonly account: string;
  /**
   * The origin that is known of the account, if there is one: a device of its owner counts for itself,
   * whatever address it is at; an address that its owner has logged in from.
   */
  readonly known?: string | undefined;
}

/** What the guard takes. Answers a {@linkcode Verdict}, and nothing to a result. */
export type GuardMessage =
  | { readonly type: "register"; readonly remote: string }
  /**
   * Before a password is checked. To go on counts as a failure of the account until the result is
   * known: many attempts at once are worth no more than one after the other.
   */
  | ({ readonly type: "login" } & Attempt)
  /** How it went; "unknown" when the password could not be checked. */
  | ({ readonly type: "result"; readonly result: "right" | "wrong" | "unknown" } & Attempt)
  /** Another node has seen a failure. */
  | { readonly type: "failed_elsewhere"; readonly keys: readonly string[] };

/** Whether to go on. */
export interface Verdict {
  /** How long to wait before another attempt, ms; 0 to go on. */
  readonly waitMs: number;
  /** The wait is not for who comes from a known origin: to be asked again with that. */
  readonly unlessKnown: boolean;
  /** What the address counts as; passwords are hashed by turns of these. */
  readonly network: string;
}

/** Settings of the guard; 0 is no limit. */
export interface GuardLimits {
  readonly registrationsPerMinute: number;
  readonly loginsPerMinute: number;
  readonly failures: number;
  /** Whether the limits per address do not hold for this one. */
  exempt(remote: string): boolean;
  /** What an address counts as: all that one household has is one. */
  network(remote: string): string;
  /**
   * What many such networks of one owner count as together, WIDE_FACTOR times as much as one; undefined
   * where there is nothing of the kind. @default nothing
   */
  wideNetwork?(remote: string): string | undefined;
  /** Tells the other nodes' guards of a failure. @default nobody is told */
  tellOthers?(keys: readonly string[]): void;
}

const MINUTE_MS = 60_000;
/** First wait after too many failures, ms; doubles with each further one, up to the cap. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
/** Failures are forgotten after this long without one, ms. */
const FORGET_MS = 15 * MINUTE_MS;
/** An address stands for many accounts: it may fail this many times as often as one account from it. */
const ADDRESS_FACTOR = 10;
/** What a wide network may do, of what one network may. */
export const WIDE_FACTOR = 4;
/** An account may fail this many times as often from all addresses as from one. */
const ACCOUNT_FACTOR = 20;
/** Most accounts and addresses remembered; the oldest goes. */
const MAX_REMEMBERED = 100_000;

/** Buckets of networks, and of the wide ones around them. */
interface Paced {
  readonly near: MinuteBuckets<string>;
  readonly wide: MinuteBuckets<string>;
}

interface Failures {
  count: number;
  lastAt: number;
}

/** See the module's header. */
export class Guard implements Actor<GuardMessage> {
  readonly #clock: Clock;
  readonly #limits: GuardLimits;
  readonly #failures = new Map<string, Failures>();
  readonly #registrations: Paced;
  readonly #logins: Paced;

  constructor(clock: Clock, limits: GuardLimits) {
    this.#clock = clock;
    this.#limits = limits;
    const paced = (perMinute: number): Paced => ({
      near: new MinuteBuckets(clock, perMinute),
      wide: new MinuteBuckets(clock, WIDE_FACTOR * perMinute),
    });
    this.#registrations = paced(limits.registrationsPerMinute);
    this.#logins = paced(limits.loginsPerMinute);
  }

  receive(m: GuardMessage): Verdict | undefined {
    switch (m.type) {
      case "register":
        return this.#verdict(m.remote, this.#register(m.remote), false);
      case "login":
        return this.#login(m);
      case "result":
        this.#result(m);
        return;
      case "failed_elsewhere":
        for (const key of m.keys) this.#failed(key);
        return;
      default:
        return m satisfies never;
    }
  }

  #verdict(remote: string, waitMs: number, unlessKnown: boolean): Verdict {
    return { waitMs, unlessKnown, network: this.#limits.network(remote) };
  }

  #register(remote: string): number {
    if (this.#limits.exempt(remote)) return 0;
    const wait = this.#paceOf(this.#registrations, remote);
    if (wait === 0) this.#add(this.#registrations, remote);
    return wait;
  }

  #paceOf({ near, wide }: Paced, remote: string): number {
    const wideNetwork = this.#limits.wideNetwork?.(remote);
    return Math.max(
      near.wait(this.#limits.network(remote)),
      wideNetwork === undefined ? 0 : wide.wait(wideNetwork),
    );
  }

  #add({ near, wide }: Paced, remote: string): void {
    near.add(this.#limits.network(remote));
    const wideNetwork = this.#limits.wideNetwork?.(remote);
    if (wideNetwork !== undefined) wide.add(wideNetwork);
  }

  #login(attempt: Attempt): Verdict {
    const { remote, account, known } = attempt;
    const { failures } = this.#limits;
    const network = this.#limits.network(remote);
    const wideNetwork = this.#limits.wideNetwork?.(remote);
    const isExempt = this.#limits.exempt(remote);
    // A device of the account's owner does not wait for what others do at its address.
    const isDevice = known !== undefined && isDeviceKey(known);
    const ofAddress = isExempt || isDevice ? 0 : Math.max(
      this.#wait(addressKey(network), failures * ADDRESS_FACTOR),
      wideNetwork === undefined
        ? 0
        : this.#wait(wideKey(wideNetwork), failures * ADDRESS_FACTOR * WIDE_FACTOR),
      this.#paceOf(this.#logins, remote),
    );
    if (ofAddress > 0) return this.#verdict(remote, ofAddress, known === undefined);
    const pair = this.#pairKey(attempt);
    const ofPair = Math.max(
      this.#wait(pair, failures),
      isDevice && !isExempt ? this.#logins.near.wait(pair) : 0,
    );
    const ofAccount = known === undefined
      ? this.#wait(accountKey(account), failures * ACCOUNT_FACTOR)
      : 0;
    const wait = Math.max(ofPair, ofAccount);
    if (wait > 0) return this.#verdict(remote, wait, known === undefined);
    if (isDevice) this.#logins.near.add(pair);
    else if (!isExempt) this.#add(this.#logins, remote);
    this.#failed(pair);
    this.#failed(accountKey(account));
    return this.#verdict(remote, 0, false);
  }

  #pairKey({ remote, account, known }: Attempt): string {
    return `${account} from ${known ?? this.#limits.network(remote)}`;
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

  #result(m: Extract<GuardMessage, { type: "result" }>): void {
    const [pair, account] = [this.#pairKey(m), accountKey(m.account)];
    if (m.result === "wrong") {
      // A right password of one account does not clear an address that tries many.
      const address = this.#addressKeys(m.remote);
      for (const key of address) this.#failed(key);
      this.#limits.tellOthers?.([pair, account, ...address]);
      return;
    }
    if (m.result === "right") this.#failures.delete(pair);
    else this.#takeBack(pair);
    // Nor does its owner's own log-in clear an account that many guess at.
    this.#takeBack(account);
  }

  #addressKeys(remote: string): string[] {
    if (this.#limits.exempt(remote)) return [];
    const wide = this.#limits.wideNetwork?.(remote);
    const near = addressKey(this.#limits.network(remote));
    return wide === undefined ? [near] : [near, wideKey(wide)];
  }

  #takeBack(key: string): void {
    const failures = this.#failures.get(key);
    if (failures === undefined) return;
    if (failures.count > 1) failures.count--;
    else this.#failures.delete(key);
  }

  #failed(key: string): void {
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    remember(this.#failures, key, { count, lastAt: this.#clock.now() });
  }
}

/** An address that an account's owner has logged in from, as an origin. */
export function addressKey(network: string): string {
  return `address ${network}`;
}

/** A device that an account's owner has logged in on, as an origin. */
export function deviceKey(device: string): string {
  return `device ${device}`;
}

function isDeviceKey(origin: string): boolean {
  return origin.startsWith("device ");
}

function wideKey(network: string): string {
  return `wide ${network}`;
}

function accountKey(account: string): string {
  return `account ${account}`;
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
