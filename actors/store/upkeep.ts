/**
 * The upkeep actor, beside the store actor on its thread: the probe of readiness, what
 * administration asks, and the removal of old messages. Nothing here is on a message's way.
 *
 * Invariant: a removal looks at MESSAGES_PER_TICK messages at most, and the next waits PAUSE_MS, so
 * that commits are held up by single milliseconds. Nodes that share a database do it side by side:
 * removing twice is removing once.
 */

import { ChatError } from "@chat/wire/errors.ts";
import { midAt } from "../hlc.ts";
import type { Counter } from "../observe/meter.ts";
import type { Mid, UpkeepPort, UserId } from "../ports.ts";
import { StoreUnavailable } from "../ports.ts";
import type { Actor, ActorSystem } from "../runtime/runtime.ts";

/** What the upkeep actor takes. */
export type UpkeepMessage =
  | { readonly type: "probe"; readonly value: string }
  | { readonly type: "trace"; readonly mid: Mid }
  | { readonly type: "waiting"; readonly user: UserId };

/** Settings of the upkeep actor. */
export interface UpkeepOptions {
  /** Days that messages are kept; 0: for ever. */
  readonly historyDays: number;
  readonly pruned: Counter;
  readonly onFailure: (error: unknown) => void;
}

/** Messages looked at in one transaction, and the time until the next, ms. */
const MESSAGES_PER_TICK = 200;
const PAUSE_MS = 100;
/** How long after everything old is gone, or a failure, it is looked for again, ms. */
const AGAIN_MS = 60_000;
const DAY_MS = 24 * 3_600_000;

/** See the module's header. */
export class UpkeepActor implements Actor<UpkeepMessage> {
  readonly #system: ActorSystem;
  readonly #port: UpkeepPort;
  readonly #options: UpkeepOptions;
  /** How far this round has got. */
  #after = "";
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(system: ActorSystem, port: UpkeepPort, options: UpkeepOptions) {
    this.#system = system;
    this.#port = port;
    this.#options = options;
    if (options.historyDays > 0) this.#arm(PAUSE_MS);
  }

  async receive(m: UpkeepMessage): Promise<unknown> {
    try {
      switch (m.type) {
        case "probe":
          return await this.#port.probe(m.value);
        case "trace":
          return await this.#port.trace(m.mid);
        case "waiting":
          return await this.#port.waiting(m.user);
        default:
          return m satisfies never;
      }
    } catch (error) {
      this.#options.onFailure(error);
      const text = error instanceof StoreUnavailable ? error.message : undefined;
      throw new ChatError("TRY_LATER", text, { cause: error });
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #arm(ms: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#system.clock.after(ms, () => {
      this.#prune().then((more) => this.#arm(more ? PAUSE_MS : AGAIN_MS), (error) => {
        this.#options.onFailure(error);
        this.#arm(AGAIN_MS);
      });
    });
  }

  /** @returns Whether there is more to look at. */
  async #prune(): Promise<boolean> {
    const before = midAt(this.#system.clock.now() - this.#options.historyDays * DAY_MS);
    const { removed, last } = await this.#port.prune(this.#after, before, MESSAGES_PER_TICK);
    this.#options.pruned.value += removed;
    this.#after = last; // "" begins again: what still waited may have been received
    return last !== "";
  }
}
