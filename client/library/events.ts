/**
 * What the client library tells a program, and the queue from which a program takes it.
 *
 * Invariant of the queue: a message leaves it once, in order of arrival, and is confirmed to the
 * server only when the program has come back for the next event. As the server stops pushing at
 * 1,024 unconfirmed messages, a program that stops reading bounds the queue; other events are cheap
 * to lose and the oldest of them goes when too many wait.
 */

/** A person or a group to talk to. */
export type Target =
  | { readonly kind: "user"; readonly id: number }
  | { readonly kind: "group"; readonly id: number };

/** A chat message as stored by the server. */
export interface Message {
  /** The server's id of it, a ULID: text order is causal order. */
  readonly mid: string;
  /** The sender's id of it; unique per sender. */
  readonly cid: string;
  /** Sender. */
  readonly id: number;
  /** Sender's name. */
  readonly name: string;
  /** Epoch ms, by the server. */
  readonly ts: number;
  /** Recipient; absent in a group. */
  readonly toid?: number | undefined;
  /** Group; absent between two users. */
  readonly groupid?: number | undefined;
  /** The text. */
  readonly msg: string;
}

/** A person the user knows. */
export interface Friend {
  /** User id. */
  readonly id: number;
  /** User name. */
  readonly name: string;
  /** `online` while the user has a session on any node. */
  readonly state: "online" | "offline";
}

/** A friend, or a fellow member of a group. */
export interface Member extends Friend {
  /** What the member is in the group. */
  readonly role: "creator" | "normal";
}

/** A group the user is in. */
export interface Group {
  /** Group id. */
  readonly id: number;
  /** Group name. */
  readonly groupname: string;
  /** What it is about; may be "". */
  readonly groupdesc: string;
  /** Members in all, when `users` lists only some of them. */
  readonly size?: number | undefined;
  /** Members, the user included; of many or large groups some of them. */
  readonly users: readonly Member[];
}

/** Who is logged in, whom they know, and what else LOGIN_ACK said. */
export interface Session {
  /** User id. */
  readonly id: number;
  /** User name. */
  readonly name: string;
  /** Everybody the user has added. */
  readonly friends: readonly Friend[];
  /** Every group the user is in. */
  readonly groups: readonly Group[];
  /** Logs in again without a password ({@linkcode Client.resume}). Keep it secret. */
  readonly token: string;
  /** Name of the node that serves this session; "" when it has none. */
  readonly node: string;
}

/**
 * How the client stands with the server. `offline`: not connected and not trying; `waiting`: a retry
 * is scheduled; `connected`: not logged in; `online`: logged in.
 */
export type ConnectionState = "offline" | "waiting" | "connecting" | "connected" | "online";

/** Something that happened. */
export type ClientEvent =
  /** A message for this user, each once, per sender in sending order. */
  | { readonly type: "message"; readonly message: Message }
  /** The server holds this chat durably, under `mid`. */
  | {
    readonly type: "sent";
    readonly cid: string;
    readonly mid: string;
    /** Epoch ms, by the server. */
    readonly ts: number;
    readonly target: Target;
    readonly msg: string;
  }
  /** The server refused this chat for good. */
  | {
    readonly type: "failed";
    readonly cid: string;
    readonly errno: number;
    readonly errmsg: string;
    readonly target: Target;
    readonly msg: string;
  }
  /** User `id` has received these messages of ours. */
  | { readonly type: "delivered"; readonly id: number; readonly mids: readonly string[] }
  | { readonly type: "presence"; readonly id: number; readonly state: Friend["state"] }
  /** Somebody types to us, or in the group `groupid`. */
  | {
    readonly type: "typing";
    readonly id: number;
    readonly name: string | undefined;
    readonly groupid: number | undefined;
  }
  /** Logged in, or back after a lost connection. */
  | { readonly type: "session"; readonly session: Session; readonly resumed: boolean }
  /** The session's friends, groups or token are others, by a request of this client. */
  | { readonly type: "session_changed"; readonly session: Session }
  | {
    readonly type: "connection";
    readonly state: ConnectionState;
    /** Why, in words; "" when there is nothing to say. */
    readonly reason: string;
    /** Until the next attempt; only with `waiting`. */
    readonly retryInMs?: number;
    /** Only a login helps: there is no token, or it was refused. Only with `offline`. */
    readonly loginNeeded?: boolean;
  }
  /** The server closes the connection after this. */
  | {
    readonly type: "bye";
    readonly errno: number;
    readonly errmsg: string;
    readonly retryAfterMs?: number | undefined;
  }
  /** Something failed that belongs to no request of the program. */
  | { readonly type: "error"; readonly errno: number; readonly errmsg: string };

/** Events that may wait besides messages; past it the oldest of them is dropped and counted. */
const MAX_OTHERS = 8_192;

interface Slot {
  readonly event: ClientEvent;
  /** Called when the program comes back after having had the event. */
  readonly handled: (() => void) | undefined;
}

/** Events on their way to the program: they wait for it, or go to what it gave to take them. */
export class EventQueue implements AsyncIterable<ClientEvent> {
  readonly #onEvent: ((event: ClientEvent) => void) | undefined;
  #slots: Slot[] = [];
  #head = 0;
  #others = 0;
  #wake: (() => void) | undefined;
  #closed = false;
  /** Events dropped because nobody took them. */
  dropped = 0;

  /** @param onEvent Takes events as they come; then none waits. It has dealt with one when it returns. */
  constructor(onEvent?: (event: ClientEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Adds an event; `handled` is called once the program has dealt with it. */
  push(event: ClientEvent, handled?: () => void): void {
    if (this.#onEvent !== undefined) {
      this.#onEvent(event);
      handled?.();
      return;
    }
    if (this.#closed) return;
    this.#slots.push({ event, handled });
    if (handled === undefined && ++this.#others > MAX_OTHERS) this.#dropOldestOther();
    this.#wake?.();
  }

  /** After what waits, iteration ends. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /**
   * Takes events in order. Several iterations at once share them out: each event goes to one.
   * An event counts as dealt with when the loop comes back for the next one or is left.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ClientEvent, void, void> {
    while (true) {
      const slot = this.#shift();
      if (slot === undefined) {
        if (this.#closed) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        const others = this.#wake;
        this.#wake = () => {
          this.#wake = undefined;
          others?.();
          resolve();
        };
        await promise;
        continue;
      }
      try {
        yield slot.event;
      } finally {
        slot.handled?.();
      }
    }
  }

  #shift(): Slot | undefined {
    const slot = this.#slots[this.#head];
    if (slot === undefined) return undefined;
    this.#head++;
    if (this.#head > 1_024 && this.#head * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    if (slot.handled === undefined) this.#others--;
    return slot;
  }

  #dropOldestOther(): void {
    const at = this.#slots.findIndex((slot, index) =>
      index >= this.#head && slot.handled === undefined
    );
    if (at < 0) return;
    this.#slots.splice(at, 1);
    this.#others--;
    this.dropped++;
  }
}
