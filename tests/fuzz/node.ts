/**
 * One node in this thread, without sockets: the connections, splitter, session pool, dispatcher,
 * sessions, registry and store of the server as they are, over sockets that are arrays.
 */

import { MAX_FRAME_BYTES } from "@chat/wire/limits.ts";
import { argon2 } from "../../actors/adapters/argon2.ts";
import { createLocalBus } from "../../actors/adapters/local_bus.ts";
import { openStore } from "../../actors/adapters/open_store.ts";
import { Guard, type GuardMessage } from "../../actors/accounts/guard.ts";
import type { OutLane } from "../../actors/runtime/lane.ts";
import { inlinePorts, type ThreadId } from "../../actors/runtime/link.ts";
import { Meter } from "../../actors/observe/meter.ts";
import { PasswordActor, type PasswordMessage } from "../../actors/accounts/passwords.ts";
import { type Clock, systemClock } from "../../actors/ports.ts";
import { Registry, type RegistryMessage } from "../../actors/routing/registry.ts";
import { workerThread } from "../../actors/routing/router.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import type { SessionWorkerOptions } from "../../actors/session_worker.ts";
import { startStore } from "../../actors/store/store_service.ts";
import { newTokenKey } from "../../actors/accounts/tokens.ts";
import { Connection, type Socket } from "../../server/sockets/connection.ts";
import { InlineSessions } from "../../server/threads/inline.ts";
import { PASSWORD_THREAD, STORE_THREAD } from "../../server/threads/node_threads.ts";
import { SessionPool } from "../../server/threads/session_pool.ts";

const NODE = "fuzz";
const NOTHING = new Uint8Array(0);
/** Messages that may wait for one user: what nobody receives must not grow without end. */
const MAX_PENDING = 500;

/** An object the server sent. */
export type Sent = Readonly<Record<string, unknown>> & { readonly msgid: number };

/** A client's end of a connection. */
export class FuzzPeer {
  readonly connection: Connection;
  /** What the splitter has passed on, as text of its bytes. */
  frames: string[] = [];
  readonly #onMessage: (message: Sent) => void;
  readonly #chunks: Uint8Array[] = [];
  #wake: (() => void) | undefined;
  #rest: Uint8Array | undefined;
  #text = "";
  readonly #decoder = new TextDecoder();

  constructor(node: FuzzNode, onMessage: (message: Sent) => void) {
    this.#onMessage = onMessage;
    this.connection = node.open(this, this.#socket());
  }

  /** Hands bytes over as one segment; a read takes no more than one. */
  feed(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#wake?.();
  }

  feedText(text: string): void {
    this.feed(new TextEncoder().encode(text));
  }

  /** Everything fed was read, and every frame of it is finished and answered. */
  get quiet(): boolean {
    if (this.connection.closed) return true;
    return this.#chunks.length === 0 && this.#rest === undefined &&
      this.#wake !== undefined && this.connection.unfinished === 0 &&
      this.connection.doneSeq >= this.connection.lastSeq && // one is in hand, and waits for an answer
      this.connection.queuedBytes === 0;
  }

  close(): void {
    this.connection.close("peer_closed");
  }

  #socket(): Socket {
    return {
      read: async (buffer) => {
        while (this.#rest === undefined && this.#chunks.length === 0) {
          if (this.connection?.closed) return null;
          await new Promise<void>((resolve) => this.#wake = resolve);
          this.#wake = undefined;
        }
        const chunk = this.#rest ?? this.#chunks.shift() ?? NOTHING;
        const count = Math.min(buffer.length, chunk.length);
        buffer.set(chunk.subarray(0, count));
        this.#rest = count < chunk.length ? chunk.subarray(count) : undefined;
        return count;
      },
      write: (bytes) => {
        this.#text += this.#decoder.decode(bytes, { stream: true });
        const lines = this.#text.split("\n");
        this.#text = lines.pop() ?? "";
        for (const line of lines) this.#onMessage(JSON.parse(line));
        return Promise.resolve(bytes.length);
      },
      close: () => this.#wake?.(),
    };
  }
}

/** See the module's header. */
export class FuzzNode {
  readonly pool = new SessionPool(1);
  /** What went wrong inside, in the words of the log. */
  readonly complaints: string[] = [];
  readonly #system: ActorSystem;
  readonly #registry: Registry;
  readonly #peers = new Map<number, FuzzPeer>();
  #stop: () => Promise<void> = () => Promise.resolve();

  private constructor() {
    const { pool } = this;
    this.#system = this.#makeSystem(0);
    this.#registry = new Registry(this.#system, {
      bus: createLocalBus(NODE),
      isOpen: (conn) => pool.connections.has(conn),
      isLeft: (conn) => pool.connections.get(conn)?.peerEnded ?? true,
      toPeer: () => {},
      workers: () => pool.workers,
      later: queueMicrotask,
    });
  }

  static async start(): Promise<FuzzNode> {
    const node = new FuzzNode();
    const system = node.#system;
    system.spawn<RegistryMessage>("registry", () => node.#registry, { concurrency: 10_000 });
    const limits = {
      registrationsPerMinute: 0,
      loginsPerMinute: 0,
      failures: 0,
      exempt: () => true,
      network: String,
    };
    system.spawn<GuardMessage>("guard", () => new Guard(systemClock, limits));
    const complain = node.#complain;
    const log = { debug() {}, info() {}, warn: complain, error: complain };
    const timers = endingClock();
    const sessions = new InlineSessions(timers.clock, log);
    const store = node.#makeSystem(STORE_THREAD);
    const passwords = node.#makeSystem(PASSWORD_THREAD);
    for (const peer of [store, passwords]) {
      const [left, right] = inlinePorts(queueMicrotask);
      sessions.link(peer.thread, left);
      peer.link(workerThread(0), right);
      const [here, there] = inlinePorts(queueMicrotask);
      system.link(peer.thread, here);
      peer.link(system.thread, there);
    }
    const port = await openStore({ sqlite: ":memory:" }, MAX_PENDING);
    const options = { maxQueued: 100_000, maxPending: MAX_PENDING, historyDays: 0 };
    startStore(
      store,
      port,
      { ...options, database: { sqlite: ":memory:" } },
      new Meter(),
      complain,
    );
    passwords.spawn<PasswordMessage>(
      "passwords",
      () => new PasswordActor(argon2({ memoryKib: 8, passes: 1 })),
    );
    await sessions.start(sessionOptions(), (mainSide) => {
      const link = system.link(
        workerThread(0),
        mainSide,
        (lane) => node.pool.receiveLane(0, lane as OutLane),
      );
      node.pool.attach(0, link);
    });
    node.#stop = async () => {
      sessions.stop();
      await store.stop("upkeep");
      await store.stop("store");
      for (const each of [passwords, store]) each.close();
      timers.end();
    };
    return node;
  }

  readonly #complain = (text: string, about?: unknown): void => {
    this.complaints.push(`${text} ${JSON.stringify(about)}`);
  };

  #makeSystem(thread: ThreadId): ActorSystem {
    return new ActorSystem(thread, systemClock, {
      onDeadLetter: () => {},
      onCrash: (name, error) => this.#complain(`${name} crashed: ${error}`),
      onGiveUp: (name, error) => this.#complain(`${name} was given up: ${error}`),
    }, queueMicrotask);
  }

  /** Users logged in. */
  get online(): number {
    return this.#registry.counts.here;
  }

  open(peer: FuzzPeer, socket: Socket): Connection {
    const { pool } = this;
    const decoder = new TextDecoder("latin1");
    const connection = new Connection(
      pool.nextConn(),
      socket,
      "fuzz",
      {
        maxQueuedBytes: 1024 * 1024,
        maxFrameBytes: MAX_FRAME_BYTES,
        maxUnfinished: 512,
        framesPerTick: 0,
      },
      {
        onFrame: (c, bytes, start, end) => {
          peer.frames.push(decoder.decode(bytes.subarray(start, end)));
          pool.frame(c, bytes, start, end);
        },
        onWritten: (c, push) => pool.written(c, push),
        onClosed: (c) => {
          pool.close(c);
          this.#peers.delete(c.conn);
          this.#system.ref<RegistryMessage>(0, "registry").tell({ type: "closed", conn: c.conn });
        },
      },
      Date.now,
    );
    this.#peers.set(connection.conn, peer);
    pool.open(connection);
    void connection.run(NOTHING); // never rejects
    return connection;
  }

  async stop(): Promise<void> {
    for (const peer of [...this.#peers.values()]) peer.close();
    await this.#stop();
    this.#system.close();
  }
}

/**
 * The real clock, whose timers can be ended together: a real node ends with its process, while a
 * session may be waiting to read again.
 */
function endingClock(): { readonly clock: Clock; end(): void } {
  const waiting = new Set<() => void>();
  let hasEnded = false;
  return {
    clock: {
      now: () => systemClock.now(),
      after(ms, fn) {
        if (hasEnded) return () => {};
        const cancel = systemClock.after(ms, () => {
          waiting.delete(cancel);
          fn();
        });
        waiting.add(cancel);
        return () => {
          waiting.delete(cancel);
          cancel();
        };
      },
    },
    end() {
      hasEnded = true;
      for (const cancel of waiting) cancel();
    },
  };
}

function sessionOptions(): SessionWorkerOptions {
  return {
    index: 0,
    workers: 1,
    storeThread: STORE_THREAD,
    passwordThreads: [PASSWORD_THREAD],
    tokenKey: newTokenKey(),
    settings: {
      node: NODE,
      nodeId: NODE,
      heartbeatSeconds: 30,
      tokenMs: 3_600_000,
      maxGroup: 100,
      maxStoreQueue: 100_000,
      maxFriends: 100,
      loginsPerMinute: 0,
      messagesPerMinute: 0,
      unitsPerMinute: 0,
      deliveriesPerMinute: 0,
      classicBytes: 0,
      maxTokens: 20,
      maxGroups: 100,
    },
  };
}
