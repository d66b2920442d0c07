/**
 * When what commits have left is filed: a while after its commit, so that most receipts have come and
 * messages are filed many at a time; in parts, between commits. The work is the adapter's.
 *
 * Invariants: no part makes a commit wait for longer than SLICE_MS, about; everything is filed within a
 * second unless commits leave no time for it; what cannot be filed is tried again, and is not lost.
 */

import { type StorePort, StoreUnavailable } from "../ports.ts";
import { type ActorSystem, backoffMs } from "../runtime/runtime.ts";

/** How long messages wait for their receipts, and for company, ms. */
const LAG_MS = 200;
/** About how long one part takes, ms. */
const SLICE_MS = 8;
/** Between two parts, ms: the thread takes in what has come. */
const BREATH_MS = 1;
/** The same for work that nobody waits for. */
const CHORE_EVERY_MS = 20;
/** Acknowledged messages that have yet to be filed take at most so much memory, bytes. */
const MAX_BACKLOG_BYTES = 64 * 1_024 * 1_024;
/** After a failure, ms: at first and at most. */
const RETRY_MS = 250;
const RETRY_CAP_MS = 5_000;

/** What filing needs of the store actor. */
export interface FilingHost {
  isBusy(): boolean;
  /** The adapter is at work, or done. */
  setBusy(busy: boolean): void;
  readonly onFailure: (error: unknown) => void;
}

/** See the module's header. */
export class Filing {
  readonly #system: ActorSystem;
  readonly #port: StorePort;
  readonly #host: FilingHost;
  /** Messages of this round that are left; later ones wait for the next. */
  #left = 0;
  #cancel: (() => void) | undefined;
  /** A part is due as soon as the adapter is free. */
  #isDue = false;
  #failures = 0;
  #problem: string | undefined;
  #stopped = false;

  constructor(system: ActorSystem, port: StorePort, host: FilingHost) {
    this.#system = system;
    this.#port = port;
    this.#host = host;
    this.afterCommit();
  }

  /** Why nothing can be filed. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Too much waits to be filed. */
  get isBehind(): boolean {
    const backlog = this.#port.backlog?.();
    return backlog !== undefined && backlog.bytes > MAX_BACKLOG_BYTES;
  }

  /** A commit has ended. */
  afterCommit(): void {
    if (this.#isDue) {
      this.#isDue = false;
      this.#arm(0);
    } else if (this.#cancel === undefined) this.#plan();
  }

  /** Begins a round now, if none is under way. */
  start(): void {
    if (this.#left > 0 || this.#failures > 0) return;
    this.#cancel?.();
    this.#begin();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #plan(): void {
    const backlog = this.#port.backlog?.();
    if (backlog === undefined) return;
    if (backlog.messages > 0) this.#arm(LAG_MS);
    else if (backlog.hasChores) this.#arm(CHORE_EVERY_MS);
  }

  #arm(ms: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#system.clock.after(ms, this.#begin);
  }

  readonly #begin = (): void => {
    this.#cancel = undefined;
    if (this.#host.isBusy()) {
      this.#isDue = true;
      return;
    }
    if (this.#left === 0) this.#left = this.#port.backlog?.().messages ?? 0;
    void this.#fileSome(); // it answers for its own failures
  };

  async #fileSome(): Promise<void> {
    const before = this.#port.backlog?.().messages ?? 0;
    this.#host.setBusy(true);
    try {
      await this.#port.file?.(SLICE_MS);
      this.#failures = 0;
      this.#problem = undefined;
    } catch (error) {
      this.#failures++;
      const why = error instanceof StoreUnavailable ? error.message : "the database failed";
      this.#problem = `acknowledged messages cannot be filed: ${why}`;
      this.#host.onFailure(error);
    } finally {
      this.#host.setBusy(false);
    }
    if (this.#failures > 0) {
      this.#left = 0;
      this.#arm(backoffMs(this.#failures, RETRY_MS, RETRY_CAP_MS, this.#system.random));
      return;
    }
    const after = this.#port.backlog?.().messages ?? 0;
    this.#left = Math.max(0, this.#left - (before - after));
    if (this.#left > 0 || this.isBehind) this.#arm(BREATH_MS);
    else this.#plan();
  }
}
