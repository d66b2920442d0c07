/**
 * Sends messages between two threads: everything said in an event-loop turn crosses in one post.
 *
 * A link carries items (actor messages, questions, answers) and, between the main thread and a
 * session worker, a lane of frames that is too hot for items. The same link runs over a
 * MessagePort, a Worker, or two objects in one thread (`--workers 0`, simulation).
 * Cost: a post is 4–5 µs and may wake a thread (85–100 µs until it runs); an item in it 0.3 µs.
 */

/** Thread numbers are given by the main thread, which is 0. */
export type ThreadId = number;

/** One thing said to another thread. */
export type LinkItem =
  /** A message to the actor `to`. */
  | { readonly to: string; readonly body: unknown }
  /** A question to the actor `to`; answered with `re: ask`. */
  | { readonly to: string; readonly body: unknown; readonly ask: number }
  /** The answer to question `re`. */
  | { readonly re: number; readonly ok: unknown }
  | { readonly re: number; readonly error: WireError };

/** An error as it crosses threads; `code` names an errno, or is undefined for a failure. */
export interface WireError {
  readonly code: string | undefined;
  readonly text: string;
}

/** What one post carries. */
export interface Payload {
  readonly items: readonly LinkItem[];
  readonly lane: unknown;
}

/** The raw side of a link. */
export interface PortLike {
  post(payload: Payload, transfer: Transferable[]): void;
  /** Set once, before the first post can arrive. */
  listen(receive: (payload: Payload) => void): void;
  close(): void;
}

/** Fills the lane at the end of a turn; undefined when there is nothing to say. */
export type LaneSource = () => { data: unknown; transfer: Transferable[] } | undefined;

const NO_ITEMS: readonly LinkItem[] = [];

/** One direction's batch and the other's delivery. */
export class Link {
  readonly #port: PortLike;
  readonly #later: (fn: () => void) => void;
  #items: LinkItem[] = [];
  #transfer: Transferable[] = [];
  #scheduled = false;
  #closed = false;
  #lane: LaneSource | undefined;

  /**
   * @param later Runs a function at the end of the current turn.
   */
  constructor(port: PortLike, later: (fn: () => void) => void) {
    this.#port = port;
    this.#later = later;
  }

  /** Adds the frame lane; call {@linkcode touch} when it has something to send. */
  setLane(source: LaneSource): void {
    this.#lane = source;
  }

  /**
   * Sends `item` with this turn's post.
   * @param moved Memory in it that goes over instead of being copied; the sender has it no more.
   */
  push(item: LinkItem, moved?: Transferable): void {
    this.#items.push(item);
    if (moved !== undefined) this.#transfer.push(moved);
    this.touch();
  }

  /** Makes sure that a post goes out at the end of this turn. */
  touch(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    this.#later(this.flush);
  }

  /** Posts now what the turn has gathered; a no-op when that is nothing. */
  readonly flush = (): void => {
    this.#scheduled = false;
    if (this.#closed) return;
    const lane = this.#lane?.();
    if (this.#items.length === 0 && lane === undefined) return;
    const items = this.#items.length === 0 ? NO_ITEMS : this.#items;
    this.#items = [];
    let transfer = lane?.transfer ?? [];
    if (this.#transfer.length > 0) {
      transfer = [...this.#transfer, ...transfer];
      this.#transfer = [];
    }
    this.#port.post({ items, lane: lane?.data }, transfer);
  };

  /** Stops sending; what was gathered is dropped. */
  close(): void {
    this.#closed = true;
    this.#items = [];
    this.#transfer = [];
    this.#port.close();
  }
}

/** The parts of MessagePort, Worker and a worker's own scope that a link uses. */
interface MessageTarget {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
}

/** A port over `postMessage`. */
export function messagePort(target: MessageTarget, close: () => void): PortLike {
  return {
    post: (payload, transfer) => target.postMessage(payload, transfer),
    listen(receive) {
      target.onmessage = (event: MessageEvent<Payload>) => receive(event.data);
    },
    close,
  };
}

/**
 * Two connected ports in one thread. Payloads are handed over by reference: neither side may
 * change what it has posted.
 * @param schedule Runs a delivery later; deliveries of one direction must keep their order.
 */
export function inlinePorts(schedule: (fn: () => void) => void): [PortLike, PortLike] {
  let closed = false;
  const make = (): { port: PortLike; peer: { receive?: (payload: Payload) => void } } => {
    const peer: { receive?: (payload: Payload) => void } = {};
    return {
      peer,
      port: {
        post(payload) {
          schedule(() => {
            if (!closed) peer.receive?.(payload);
          });
        },
        listen() {},
        close() {
          closed = true;
        },
      },
    };
  };
  const a = make();
  const b = make();
  a.port.listen = (receive) => void (b.peer.receive = receive);
  b.port.listen = (receive) => void (a.peer.receive = receive);
  return [a.port, b.port];
}
