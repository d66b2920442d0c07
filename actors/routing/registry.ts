/**
 * The registry actor: sole writer of the online map (user ⇒ location). Decides logins, tells every
 * worker's replica of each change, exchanges changes with other nodes' registries, and routes hints.
 *
 * Invariants: an entry is replaced only by a claim and removed only by its owner (compare and
 * delete) or with its node; other nodes' entries come as numbered changes after a snapshot, and a
 * gap asks for a new one.
 */

import { WORKER_SPAN } from "../runtime/lane.ts";
import type { BusPort, NodeId, UserId } from "../ports.ts";
import {
  type LocationCode,
  remoteLocation,
  remoteNodeIndex,
  type ReplicaMessage,
} from "./replica.ts";
import { workerThread } from "./router.ts";
import type { Actor, ActorSystem } from "../runtime/runtime.ts";

/** What the registry takes. */
export type RegistryMessage =
  /** Asks for the user's entry; answered with whether it was granted. */
  | {
    readonly type: "claim";
    readonly user: UserId;
    readonly conn: number;
    /** Take it from whoever holds it (RESUME). */
    readonly takeover: boolean;
  }
  /** LOGOUT: the user's entry goes, if it is this connection's. Answered once it has. */
  | { readonly type: "release"; readonly user: UserId; readonly conn: number }
  /** A connection has closed. */
  | { readonly type: "closed"; readonly conn: number }
  /** Messages for these users wait without a receipt. */
  | { readonly type: "hints"; readonly users: readonly UserId[] }
  /** A session worker has started: it needs a snapshot. */
  | { readonly type: "attach"; readonly worker: number }
  /** From another node's registry. */
  | { readonly type: "peer"; readonly from: NodeId; readonly message: PeerMessage }
  | { readonly type: "node_up"; readonly node: NodeId }
  | { readonly type: "node_down"; readonly node: NodeId }
  /** The bus may have lost messages and claims. */
  | { readonly type: "reset" };

/** What registries say to each other over the bus. */
export type PeerMessage =
  /** Numbered pairs user, worker (-1: offline). */
  | { readonly t: "changes"; readonly seq: number; readonly list: readonly number[] }
  /** Pairs user, worker: everybody online there. */
  | { readonly t: "snapshot"; readonly seq: number; readonly list: readonly number[] }
  /** `again`: the bus has lost what it knew; whoever states whom it has tells the bus before. */
  | { readonly t: "ask_snapshot"; readonly again?: true }
  /** The user's entry was taken over by the sender. */
  | { readonly t: "evict"; readonly user: UserId; readonly conn: number }
  | { readonly t: "hints"; readonly users: readonly UserId[] };

/** What the registry needs of its thread. */
export interface RegistryPorts {
  readonly bus: BusPort;
  /** Whether a connection is still open: a claim for a closed one would be a ghost. */
  isOpen(conn: number): boolean;
  /** Whether its peer has hung up, and only what it said before that is still done. */
  isLeft(conn: number): boolean;
  /** Sends to one other node's registry, or to all. */
  toPeer(node: NodeId | undefined, message: PeerMessage): void;
  /** Indexes of the session workers that run. */
  workers(): Iterable<number>;
  /** Runs at the end of the turn. */
  later(fn: () => void): void;
}

/** Told to a session worker. */
export type SessionCommand =
  | { readonly type: "evict"; readonly conn: number }
  | { readonly type: "hint"; readonly users: readonly UserId[] };

interface Peer {
  readonly index: number;
  seq: number;
  /** False until its snapshot has come. */
  known: boolean;
  /** It has stated whom it has since this node's last reset: what it holds is on the bus again. */
  stated: boolean;
  readonly users: Map<UserId, number>;
}

/** See the module's header. */
export class Registry implements Actor<RegistryMessage> {
  readonly #system: ActorSystem;
  readonly #ports: RegistryPorts;
  readonly #locations = new Map<UserId, LocationCode>();
  readonly #users = new Map<number, UserId>(); // conn ⇒ user, of this node
  readonly #peers = new Map<NodeId, Peer>();
  readonly #nodeIds: NodeId[] = [];
  #changes: number[] = [];
  #seq = 0;
  #scheduled = false;
  /** Resets under way. */
  #resets = 0;

  constructor(system: ActorSystem, ports: RegistryPorts) {
    this.#system = system;
    this.#ports = ports;
  }

  /** Users online on this node, and anywhere. */
  get counts(): { here: number; all: number } {
    return { here: this.#users.size, all: this.#locations.size };
  }

  /** Other nodes that are alive as far as is known. */
  get peers(): NodeId[] {
    return [...this.#peers.keys()];
  }

  /** Where a user is, for administration. */
  find(user: UserId): { node: NodeId | undefined; conn: number } | undefined {
    const location = this.#locations.get(user);
    if (location === undefined) return undefined;
    return location > 0
      ? { node: undefined, conn: location }
      : { node: this.#nodeIds[remoteNodeIndex(location)], conn: 0 };
  }

  receive(m: RegistryMessage): unknown {
    switch (m.type) {
      case "claim":
        return this.#claim(m.user, m.conn, m.takeover);
      case "release":
        return this.#release(m.user, m.conn);
      case "closed": {
        const user = this.#users.get(m.conn);
        if (user !== undefined) void this.#release(user, m.conn);
        return;
      }
      case "hints":
        return this.#hints(m.users);
      case "attach":
        return this.#attach(m.worker);
      case "peer":
        return this.#peer(m.from, m.message);
      case "node_up":
        this.#known(m.node);
        return this.#ports.toPeer(m.node, { t: "ask_snapshot" });
      case "node_down":
        return this.#nodeDown(m.node);
      case "reset":
        return this.#reset();
      default:
        return m satisfies never;
    }
  }

  async #claim(user: UserId, conn: number, resumes: boolean): Promise<boolean> {
    const { bus, isOpen, isLeft } = this.#ports;
    const before = this.#locations.get(user) ?? 0;
    // A client that had no answer in time has come again on another connection: the one it has left
    // takes nobody's place, and keeps none.
    const takeover = resumes && !isLeft(conn);
    // Its own entry: a worker died between the claim and its answer, and the login is run again.
    if (before > 0 && before !== conn && !takeover && !isLeft(before)) return false;
    if (!takeover && !this.#hasStated(before)) return false;
    const claim = await bus.claim(user, conn, takeover);
    if (!claim.granted) return false;
    // Of a user on another node the bus may know already that they have left there. Only the bus, and
    // not one that has forgotten everything while this was asked.
    const isGuess = before < 0 && (claim.isGuess === true || !this.#hasStated(before));
    if ((isGuess && !takeover) || !isOpen(conn)) {
      void bus.release(user, conn);
      return false;
    }
    const previous = this.#locations.get(user);
    if (previous !== undefined && previous > 0 && previous !== conn) {
      // Two claims at once on this node: the bus knows one node's entry, not which connection.
      if (!takeover && !isLeft(previous)) {
        await bus.announce([{ user, conn: previous }]); // the entry is the first one's again
        return false;
      }
      this.#evict(previous);
    }
    const other = claim.previous;
    if (other !== undefined && other.node !== bus.node) {
      this.#ports.toPeer(other.node, { t: "evict", user, conn: other.conn });
    }
    this.#users.set(conn, user);
    this.#set(user, conn);
    // Who took it over meanwhile may have said so before the bus's answer was here.
    if (this.#elsewhere(user) !== 0) await this.#contest(user, conn);
    return this.#users.get(conn) === user;
  }

  #release(user: UserId, conn: number): void | Promise<void> {
    if (this.#users.get(conn) !== user) return;
    this.#users.delete(conn);
    const released = this.#ports.bus.release(user, conn);
    if (this.#locations.get(user) === conn) this.#notHere(user);
    return released;
  }

  #evict(conn: number): void {
    this.#users.delete(conn);
    this.#command(conn % WORKER_SPAN, { type: "evict", conn });
  }

  #hints(users: readonly UserId[]): void {
    const byWorker = new Map<number, UserId[]>();
    const byNode = new Map<NodeId, UserId[]>();
    for (const user of users) {
      const location = this.#locations.get(user);
      if (location === undefined) continue;
      if (location > 0) addTo(byWorker, location % WORKER_SPAN, user);
      else {
        const node = this.#nodeIds[remoteNodeIndex(location)];
        if (node !== undefined) addTo(byNode, node, user);
      }
    }
    for (const [worker, list] of byWorker) this.#command(worker, { type: "hint", users: list });
    for (const [node, list] of byNode) this.#ports.toPeer(node, { t: "hints", users: list });
  }

  #attach(worker: number): void {
    for (let index = 0; index < this.#nodeIds.length; index++) {
      const node = this.#nodeIds[index];
      if (node !== undefined) this.#replica(worker, { type: "node", index, node });
    }
    const entries: number[] = [];
    for (const [user, location] of this.#locations) entries.push(user, location);
    this.#replica(worker, { type: "snapshot", entries });
  }

  // ── other nodes ────────────────────────────────────────────────────────────────────────────

  #peer(from: NodeId, m: PeerMessage): void | Promise<unknown> {
    const peer = this.#known(from);
    switch (m.t) {
      case "ask_snapshot":
        // During a reset the bus may lack what it would state; all are told at the end.
        if (this.#resets > 0) return;
        if (m.again === true) return this.#stateAgain(from);
        return this.#ports.toPeer(from, this.#snapshot());
      case "snapshot": {
        const gone = new Set(peer.users.keys());
        for (let i = 0; i < m.list.length; i += 2) gone.delete(m.list[i] ?? 0);
        for (const user of gone) this.#goneFrom(peer, user);
        peer.seq = m.seq;
        peer.known = true;
        peer.stated = true;
        return this.#statedBy(peer, m.list);
      }
      case "changes":
        if (!peer.known) return; // its snapshot is on the way
        if (m.seq !== peer.seq + 1) {
          if (m.seq <= peer.seq) return; // the snapshot had it
          peer.known = false;
          return this.#ports.toPeer(from, { t: "ask_snapshot" });
        }
        peer.seq = m.seq;
        return this.#statedBy(peer, m.list);
      case "evict": {
        if (this.#users.get(m.conn) !== m.user) return;
        this.#evict(m.conn);
        void this.#ports.bus.release(m.user, m.conn); // the bus forgets it; the newer entry stays
        if (this.#locations.get(m.user) === m.conn) this.#notHere(m.user);
        return;
      }
      case "hints":
        return this.#hints(m.users.filter((user) => (this.#locations.get(user) ?? 0) > 0));
      default:
        return m satisfies never;
    }
  }

  #snapshot(): PeerMessage {
    this.#flush(); // so that its number covers every change
    const list: number[] = [];
    for (const [conn, user] of this.#users) list.push(user, conn % WORKER_SPAN);
    return { t: "snapshot", seq: this.#seq, list };
  }

  /** Users' entries as another node states them: pairs of user and worker, -1 for none. */
  #statedBy(peer: Peer, list: readonly number[]): void | Promise<unknown> {
    const contests: Promise<void>[] = [];
    for (let i = 0; i < list.length; i += 2) {
      const user = list[i] ?? 0;
      const worker = list[i + 1] ?? -1;
      if (worker < 0) {
        this.#goneFrom(peer, user);
        continue;
      }
      peer.users.set(user, worker);
      const location = this.#locations.get(user) ?? 0;
      if (location > 0) contests.push(this.#contest(user, location));
      else this.#set(user, remoteLocation(peer.index, worker));
    }
    if (contests.length > 0) return Promise.all(contests);
  }

  #goneFrom(peer: Peer, user: UserId): void {
    peer.users.delete(user);
    const location = this.#locations.get(user) ?? 0;
    if (location < 0 && remoteNodeIndex(location) === peer.index) {
      this.#set(user, this.#elsewhere(user));
    }
  }

  /**
   * Another node states that it has a user who is here too. Its word may be old, or ours: a node
   * that was stopped believes what was true before. The bus knows whose claim came last; while it
   * is away both keep the user, until it is back and asked again.
   */
  async #contest(user: UserId, conn: number): Promise<void> {
    const { bus } = this.#ports;
    const { granted } = await bus.claim(user, conn, false);
    const location = this.#locations.get(user) ?? 0;
    if (location !== conn) { // it closed, or came again, meanwhile: the claim was not for that
      if (!granted) return;
      void bus.release(user, conn);
      if (location > 0) await bus.announce([{ user, conn: location }]);
      return;
    }
    if (granted) return;
    this.#evict(conn);
    this.#notHere(user);
  }

  /** Others hear that a user is not here; another node may have stated before that it is there. */
  #notHere(user: UserId): void {
    this.#set(user, 0);
    this.#set(user, this.#elsewhere(user));
  }

  /** Another node that states to have the user, if any. */
  #elsewhere(user: UserId): LocationCode {
    for (const peer of this.#peers.values()) {
      const worker = peer.users.get(user);
      if (worker !== undefined) return remoteLocation(peer.index, worker);
    }
    return 0;
  }

  /**
   * Whether the bus may be believed that nobody has a user who was at `location`. Until a node has stated
   * whom it has after a reset, a bus that came back empty may lack its entries: its users stay there.
   */
  #hasStated(location: LocationCode): boolean {
    if (location >= 0) return true;
    const node = this.#nodeIds[remoteNodeIndex(location)];
    const peer = node === undefined ? undefined : this.#peers.get(node);
    return peer === undefined || peer.stated;
  }

  #known(node: NodeId): Peer {
    let peer = this.#peers.get(node);
    if (peer === undefined) {
      peer = { index: this.#nodeIds.length, seq: 0, known: false, stated: false, users: new Map() };
      this.#nodeIds.push(node);
      this.#peers.set(node, peer);
      for (const worker of this.#ports.workers()) {
        this.#replica(worker, { type: "node", index: peer.index, node });
      }
    }
    return peer;
  }

  async #nodeDown(node: NodeId): Promise<void> {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    const ours: { user: UserId; conn: number }[] = [];
    for (const user of [...peer.users.keys()]) {
      const location = this.#locations.get(user) ?? 0;
      if (location > 0) ours.push({ user, conn: location });
      this.#goneFrom(peer, user);
    }
    this.#peers.delete(node); // its index stays taken: a location code is never reused
    // Who came here while the bus was away could not be announced over the dead node's entry.
    if (ours.length > 0) await this.#ports.bus.announce(ours);
  }

  async #reset(): Promise<void> {
    for (const peer of this.#peers.values()) peer.stated = false;
    await this.#stateAgain(undefined);
    this.#ports.toPeer(undefined, { t: "ask_snapshot", again: true });
  }

  /** Tells the bus, then one other node or all, whom this node has. */
  async #stateAgain(to: NodeId | undefined): Promise<void> {
    this.#resets++;
    await this.#ports.bus.announce([...this.#users].map(([conn, user]) => ({ user, conn })));
    this.#resets--;
    this.#ports.toPeer(to, this.#snapshot());
  }

  // ── telling others ─────────────────────────────────────────────────────────────────────────

  #set(user: UserId, location: LocationCode): void {
    const before = this.#locations.get(user) ?? 0;
    if (before === location) return;
    if (location === 0) this.#locations.delete(user);
    else this.#locations.set(user, location);
    this.#changes.push(user, location);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#ports.later(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const entries = this.#changes;
    if (entries.length === 0) return;
    this.#changes = [];
    for (const worker of this.#ports.workers()) this.#replica(worker, { type: "changes", entries });
    const own: number[] = [];
    for (let i = 0; i < entries.length; i += 2) {
      const user = entries[i] ?? 0;
      const location = entries[i + 1] ?? 0;
      // What another node told us is not ours to tell; that we no longer hold a user is.
      if (location >= 0) own.push(user, location === 0 ? -1 : location % WORKER_SPAN);
    }
    if (own.length > 0) {
      this.#ports.toPeer(undefined, { t: "changes", seq: ++this.#seq, list: own });
    }
  }

  #replica(worker: number, message: ReplicaMessage): void {
    this.#system.ref<ReplicaMessage>(workerThread(worker), "replica").tell(message);
  }

  #command(worker: number, command: SessionCommand): void {
    this.#system.ref<SessionCommand>(workerThread(worker), "sessions").tell(command);
  }
}

function addTo<K>(map: Map<K, UserId[]>, key: K, user: UserId): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [user]);
  else list.push(user);
}
