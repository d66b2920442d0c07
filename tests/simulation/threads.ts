/**
 * The threads of a simulated node besides its main thread: starts them, introduces them to each
 * other, and replaces one that dies, as server/threads/threads.ts does with real ones.
 */

import type { PortLike, ThreadId } from "../../actors/runtime/link.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import { Channel, type SimThread } from "./thread.ts";

/** A thread that ran this long is started again without back-off, ms. */
const STABLE_MS = 30_000;
/** First delay before a dead thread is started again is up to this, ms; doubles up to the cap. */
const RESTART_MS = 50;
const RESTART_CAP_MS = 5_000;

/** What the node does with its threads. */
export interface ThreadsParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly main: SimThread;
  make(id: ThreadId): SimThread;
  /** In the thread: it begins. `port` leads to the main thread. */
  run(thread: SimThread, port: PortLike): void;
  /** In the main thread: it has said that it runs. */
  ready(thread: SimThread, port: PortLike, restarted: boolean): void;
  /** It has died. The main thread does not know yet. */
  died(thread: SimThread): void;
  /** In the main thread: its death is noticed. */
  down(thread: SimThread): void;
}

/** See the module's header. */
export class SimThreads {
  readonly #parts: ThreadsParts;
  readonly #running = new Map<ThreadId, SimThread>();
  readonly #channels = new Map<string, Channel>();
  readonly #lives = new Map<ThreadId, { attempts: number; startedAt: number }>();

  constructor(parts: ThreadsParts) {
    this.#parts = parts;
  }

  /** Whether a thread was ever started. */
  knows(id: ThreadId): boolean {
    return this.#lives.has(id);
  }

  start(id: ThreadId, restarted = false): void {
    const { scheduler, random, main } = this.#parts;
    const thread = this.#parts.make(id);
    const attempts = this.#lives.get(id)?.attempts ?? 0;
    this.#lives.set(id, { attempts, startedAt: scheduler.now });
    for (const peer of this.#running.values()) {
      const channel = this.#connect(thread, peer);
      thread.system.link(peer.id, channel.a);
      const introduce = () => void peer.system.link(id, channel.b);
      this.#channels.get(keyOf(main.id, peer.id))?.control(peer, introduce);
    }
    const toMain = this.#connect(thread, main);
    this.#running.set(id, thread);
    scheduler.at(random.between(5, 25), thread, "start", () => {
      this.#parts.run(thread, toMain.a);
      toMain.control(main, () => this.#parts.ready(thread, toMain.b, restarted));
    });
  }

  /** Ends a thread between two steps; it is started again. */
  crash(id: ThreadId): void {
    const { scheduler, random, main } = this.#parts;
    const thread = this.#running.get(id);
    if (thread === undefined) return;
    thread.kill();
    this.#running.delete(id);
    this.#parts.died(thread);
    const channel = this.#channels.get(keyOf(main.id, id));
    // What it had posted may still arrive before its death is noticed, and never after.
    scheduler.at(random.between(0, 2) ** 4, main, "death noticed", () => {
      channel?.cut();
      this.#parts.down(thread);
      main.system.unlink(id);
      const life = this.#lives.get(id) ?? { attempts: 0, startedAt: 0 };
      const attempts = scheduler.now - life.startedAt > STABLE_MS ? 0 : life.attempts;
      this.#lives.set(id, { attempts: attempts + 1, startedAt: scheduler.now });
      const delay = random.between(0, Math.min(RESTART_CAP_MS, RESTART_MS * 2 ** attempts));
      scheduler.at(delay, main, "restart", () => this.start(id, true));
    });
  }

  #connect(a: SimThread, b: SimThread): Channel {
    const channel = new Channel(a, b);
    this.#channels.set(keyOf(a.id, b.id), channel);
    return channel;
  }
}

function keyOf(a: ThreadId, b: ThreadId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
