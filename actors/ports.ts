/**
 * What actors need from outside, as interfaces: time, storage, other nodes, password hashing.
 * Adapters implement them (`actors/adapters/`), tests replace them. No behaviour here.
 */

/** A user's id, positive. */
export type UserId = number;
/** A group's id, positive. */
export type GroupId = number;
/** A message's id: a ULID from the hybrid logical clock; text order is causal order. */
export type Mid = string;
/** One run of one node: a new value at every start, so that a late message of an old run is known. */
export type NodeId = string;

/** Time as actors see it; the simulation replaces it. */
export interface Clock {
  /** Wall time, epoch ms. */
  now(): number;
  /** Runs `fn` once after `ms`; returns a function that cancels it. */
  after(ms: number, fn: () => void): () => void;
}

/** Time that goes on whatever becomes of the wall clock: for waits. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  after: (ms, fn) => systemClock.after(ms, fn),
};

/** The real clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, fn) {
    const id = setTimeout(fn, ms);
    Deno.unrefTimer(id);
    return () => clearTimeout(id);
  },
};

/** A chat message on its way: one to one (`groupid` 0) or to a group (`toid` 0). */
export interface Message {
  readonly mid: Mid;
  /** Sender's own id of it; for a v1 sender the server makes one. */
  readonly cid: string;
  readonly from: UserId;
  /** Sender's name. */
  readonly name: string;
  /** Epoch ms. */
  readonly ts: number;
  readonly toid: UserId;
  readonly groupid: GroupId;
  readonly msg: string;
  /** JSON object text of a v1 sender's other fields (`time`, `to`, …); "" from a v2 sender. */
  readonly extra: string;
  /**
   * `mid` of the sender's previous message to this conversation, "" when there is none.
   * A recipient that has not seen it knows that a push was lost. Not stored.
   */
  readonly prev: Mid;
  /**
   * In a group: the newest message that its sender had there from somebody else, which this one may
   * answer. A recipient that has not seen it waits for it. Not stored.
   */
  readonly after?: { readonly from: UserId; readonly mid: Mid } | undefined;
}

/** A token that goes on under another id. */
export interface RenewedToken {
  readonly from: string;
  readonly to: string;
  /** Epoch ms. */
  readonly expires: number;
}

/** A message to store. */
export interface Append {
  readonly message: Message;
  /** Recipients whose receipt came before the commit: they get no pending row. */
  readonly confirmed: readonly UserId[];
}

/** What became of one {@linkcode Append}. */
export type AppendOutcome =
  /** Durable; `pending` are the recipients that have a pending row. */
  | { readonly status: "stored"; readonly pending: readonly UserId[] }
  /** This `(from, cid)` was stored before, under this `mid`. */
  | { readonly status: "duplicate"; readonly mid: Mid; readonly ts: number }
  /** No such recipient or group; nothing stored. */
  | { readonly status: "no_such_target" }
  /** The sender is no member of the group; nothing stored. */
  | { readonly status: "not_permitted" }
  /** One-to-one: too much of this sender waits for the recipient already; nothing stored. */
  | { readonly status: "mailbox_full" }
  /** One-to-one: too much of others does; nothing stored, it may come again. */
  | { readonly status: "mailbox_busy" };

/** `user` has received `mid`: its pending row goes. */
export interface Receipt {
  readonly user: UserId;
  readonly mid: Mid;
}

/** What is acknowledged and durable, and has yet to be put where it is read from. */
export interface Backlog {
  readonly messages: number;
  /** Of memory, about. */
  readonly bytes: number;
  /** Other work that `file` does when there are no messages. */
  readonly hasChores: boolean;
}

/** A user with what a login needs. */
export interface UserRow {
  readonly id: UserId;
  readonly name: string;
  /** Argon2id in PHC form. */
  readonly hash: string;
}

/** A person as lists name them. */
export interface PersonRow {
  readonly id: UserId;
  readonly name: string;
}

/** A member of a group. */
export interface MemberRow extends PersonRow {
  readonly role: "creator" | "normal";
}

/** A group and its members, or some of them. */
export interface GroupRow {
  readonly id: GroupId;
  readonly groupname: string;
  readonly groupdesc: string;
  /** How many it has, listed or not. */
  readonly size: number;
  readonly users: readonly MemberRow[];
}

/** A group that a user has joined. */
export interface JoinedGroup {
  /** False when the user was in it before: then no members are listed. */
  readonly isNew: boolean;
  readonly group: GroupRow;
}

/**
 * Members listed in one answer, about 60 B each: over all groups of a log-in, or of one that is
 * joined. A log-in costs others no more than some ms.
 */
export const MAX_LISTED_MEMBERS = 400;
/** Groups of a log-in of which members are listed, the first by id; each has an equal part. */
export const MAX_LISTED_GROUPS = 100;

/** Members listed of each of so many groups. */
export function listedOf(groups: number): number {
  return Math.floor(MAX_LISTED_MEMBERS / Math.max(1, Math.min(groups, MAX_LISTED_GROUPS)));
}

/** What LOGIN_ACK lists. */
export interface ContactsRow {
  readonly friends: readonly PersonRow[];
  readonly groups: readonly GroupRow[];
}

/** One page of a conversation: oldest first. */
export interface HistoryPage {
  readonly messages: readonly Message[];
  /** Older messages exist. */
  readonly more: boolean;
}

/**
 * All durable state. Every adapter passes tests/actors/store_contract_test.ts.
 *
 * A method rejects with {@linkcode StoreUnavailable} when the database cannot be reached within
 * the adapter's deadline; nothing may then be assumed of what it wrote. Calls may overlap, but
 * `commit` calls never do: the store actor waits for one before the next.
 */
export interface StorePort {
  /**
   * Stores messages and applies receipts in one transaction. Resolves once that is durable.
   *
   * Recipients are read inside it (`toid`, or every member but the sender), so a member who joined
   * on another node a moment ago is never missed. Receipts for unknown rows are ignored.
   * Of a group, a member whose mailbox is full gets no pending row: it finds the message in the
   * history. How full is full, the adapter is opened with.
   * @returns One outcome per message, in order.
   */
  commit(appends: readonly Append[], receipts: readonly Receipt[]): Promise<AppendOutcome[]>;
  /**
   * What commits have left to do, which whoever commits does between them with `file`. Reads see all
   * that was committed, at the cost of filing it first. Undefined where commits leave nothing.
   */
  backlog?(): Backlog;
  /**
   * Does a part of it, the oldest first. Rejects as commit, and nothing is lost.
   * @param ms About how long that may take.
   */
  file?(ms: number): Promise<void>;
  /** Messages `user` has not received, by `mid`, `mid > after` ("" from the start), at most `limit`. */
  pending(user: UserId, after: Mid, limit: number): Promise<Message[]>;
  /** Latest `mid` that `from` has stored in a conversation; "" when none. */
  lastMid(from: UserId, toid: UserId, groupid: GroupId): Promise<Mid>;
  /** Messages between two users, `mid < before` ("" for the latest). */
  historyWith(user: UserId, peer: UserId, before: Mid, limit: number): Promise<HistoryPage>;
  /** Messages of a group; undefined when `user` is no member of it. */
  historyOf(
    user: UserId,
    groupid: GroupId,
    before: Mid,
    limit: number,
  ): Promise<HistoryPage | undefined>;

  /** New user's id; undefined when the name is taken (names differ by more than case). */
  register(name: string, hash: string): Promise<UserId | undefined>;
  userById(id: UserId): Promise<UserRow | undefined>;
  userByName(name: string): Promise<UserRow | undefined>;
  /** Replaces a password hash; with `expected`, only while the present one is that. */
  setHash(id: UserId, hash: string, expected?: string): Promise<void>;
  /**
   * Replaces a password hash and ends all of the user's tokens, at once.
   * @param renewed The token `from` goes on under the id `to`, for its device.
   */
  changePassword(id: UserId, hash: string, renewed?: RenewedToken): Promise<void>;
  /**
   * Ends an account: friends (both ways), memberships, pending rows and tokens go, the name becomes
   * free, nobody finds or reaches the user again. Messages stay, from {@linkcode DELETED_NAME}.
   * Idempotent.
   * @returns Groups that lost a member; may be empty when an earlier attempt did the work.
   */
  deleteUser(id: UserId): Promise<readonly GroupId[]>;
  /** Members of groups are listed as {@linkcode listedOf} says. */
  contacts(user: UserId): Promise<ContactsRow>;
  /**
   * Idempotent. The friend, undefined when there is no such user, "full" when the user has `most`
   * friends (0: no limit).
   */
  addFriend(
    user: UserId,
    friend: UserId | string,
    most?: number,
  ): Promise<PersonRow | "full" | undefined>;
  /**
   * `friend` is no longer listed for `user`; the other way round nothing changes. Idempotent.
   * @returns The person, friend or not; undefined when there is no such user.
   */
  removeFriend(user: UserId, friend: UserId | string): Promise<PersonRow | undefined>;
  /**
   * New group's id, with `user` as creator; undefined when the name is taken, "too_many" when the
   * user is in `mostGroups` (0: no limit).
   */
  createGroup(
    user: UserId,
    name: string,
    desc: string,
    mostGroups?: number,
  ): Promise<GroupId | "too_many" | undefined>;
  /**
   * Idempotent. The group with up to MAX_LISTED_MEMBERS of its members, undefined when there is none
   * such, "full" when it has `most` members, "too_many" when the user is in `mostGroups` (0: no limit).
   */
  joinGroup(
    user: UserId,
    group: GroupId | string,
    most?: number,
    mostGroups?: number,
  ): Promise<JoinedGroup | "full" | "too_many" | undefined>;
  /** With all members. */
  group(id: GroupId): Promise<GroupRow | undefined>;

  /**
   * Remembers a resume token's id until `expires` (epoch ms).
   * @param device The client's name of the device that may use it. @default ""
   * @param most Tokens of the user that go on: those that expire first end; 0: all. @default 0
   */
  saveToken(
    tokenId: string,
    user: UserId,
    expires: number,
    device?: string,
    most?: number,
  ): Promise<void>;
  /** Who a live token of this device (`""` by default) belongs to: one indexed read. */
  tokenOwner(tokenId: string, now: number, device?: string): Promise<PersonRow | undefined>;
  /** Ends one token, or all of a user's when `tokenId` is undefined. */
  revokeToken(user: UserId, tokenId: string | undefined): Promise<void>;
  /** Remembers where a user has logged in from, at `now` (epoch ms); the newest MAX_ORIGINS go on. */
  noteOrigins(user: UserId, origins: readonly string[], now: number): Promise<void>;
  /** Those of `origins` that the user has logged in from. */
  knownOrigins(user: UserId, origins: readonly string[]): Promise<readonly string[]>;
  /** A secret shared by all nodes of this store; `fresh` is kept if there is none yet. */
  secret(name: string, fresh: string): Promise<string>;

  /** Releases everything; later calls reject. */
  close(): Promise<void>;
}

/** A stored message and who has not received it. */
export interface MessageTrace {
  readonly message: Message;
  readonly pending: readonly UserId[];
}

/** What a removal of old messages did. */
export interface Pruned {
  readonly removed: number;
  /** Where to go on from, in the database's own terms; "" when all were looked at. */
  readonly last: string;
}

/** What a node's upkeep needs of the database, beside the messages' way. Rejects as StorePort. */
export interface UpkeepPort {
  /** Commits a value and reads it back; rejects when it cannot. */
  probe(value: string): Promise<void>;
  /** Undefined when there is no such message. */
  trace(mid: Mid): Promise<MessageTrace | undefined>;
  /** Messages that wait for a user. */
  waiting(user: UserId): Promise<number>;
  /**
   * Looks at `limit` messages at most, those before the mid `before`, oldest first, and removes what
   * nobody has yet to receive. Their `(from, cid)` may then be stored anew.
   * @param after What an earlier call ended with; "" from the start.
   */
  prune(after: string, before: Mid, limit: number): Promise<Pruned>;
}

/** Addresses and devices that a user has logged in from, remembered. */
export const MAX_ORIGINS = 20;
/** An origin's time is written anew when it is older than this, ms: not at every log-in. */
export const ORIGIN_FRESH_MS = 24 * 3_600_000;

/** Whom messages of a deleted account are from. */
export const DELETED_NAME = "deleted user";

/** The database did not answer in time or is away: the caller may try again later. */
export class StoreUnavailable extends Error {
  override readonly name: string = "StoreUnavailable";
}

/** It answers, but what was asked took longer than it may: less at once may succeed. */
export class StoreTooSlow extends StoreUnavailable {
  override readonly name = "StoreTooSlow";
}

/** Where a user's session is: a connection of one run of one node. */
export interface Location {
  readonly node: NodeId;
  /** Connection number on that node; never reused within a run. */
  readonly conn: number;
}

/** What became of a claim on a user's online entry. */
export type Claim =
  /**
   * The entry is ours. `previous` held it (only with `takeover`) and must be told to go. `isGuess`:
   * the bus is away, or has just lost what it knew, and nobody knows whether another node holds it.
   */
  | { readonly granted: true; readonly previous: Location | undefined; readonly isGuess?: true }
  /** A live session holds it. */
  | { readonly granted: false };

/** What a bus tells the bridge. Called on the bridge's thread, never re-entrantly. */
export interface BusHandler {
  /** An envelope from another node; from one node they come in order, but may be lost. */
  onEnvelope(from: NodeId, text: string): void;
  /** A node is known to be alive (first sign, or back after `onNodeDown`). */
  onNodeUp(node: NodeId): void;
  /** A node's lease ran out, or it said goodbye. */
  onNodeDown(node: NodeId): void;
  /** Envelopes and claims may have been lost: announce everything again. */
  onReset(): void;
}

/** What a bus counts since it was opened. */
export interface BusCounters {
  /** Envelopes that were not sent: the other side was away, or the queue full. */
  readonly dropped: number;
  /** Times that everything had to be announced again. */
  readonly resets: number;
}

/** Node-to-node traffic and the cluster-wide claims on online users. */
export interface BusPort {
  /** This run of this node. */
  readonly node: NodeId;
  readonly counters: BusCounters;
  /** Subscribes, takes this node's lease, then delivers. Rejects when that fails in time. */
  start(handler: BusHandler): Promise<void>;
  /** Sends one envelope; never blocks, drops when the other side is away or the queue is full. */
  send(to: NodeId, text: string): void;
  /** Sends one envelope to every other node. */
  broadcast(text: string): void;
  /**
   * Takes a user's online entry, cluster-wide and atomically. An entry of a dead node is void.
   * While the bus is away the claim is granted as a guess, and repaired later. Never rejects.
   */
  claim(user: UserId, conn: number, takeover: boolean): Promise<Claim>;
  /**
   * Gives the entry up if it is still this connection's (compare-and-delete). Resolves once others
   * may claim it; no later than a claim would when the bus is away. Never rejects.
   */
  release(user: UserId, conn: number): Promise<void>;
  /** Writes the entries of all users online here again, after a reset. Resolves when done. */
  announce(entries: readonly { user: UserId; conn: number }[]): Promise<void>;
  /** Undefined when envelopes get through, else what is wrong. */
  problem(): string | undefined;
  /** Gives up the lease and every connection. */
  close(): Promise<void>;
}

/** Slow password hashing, in a thread of its own. */
export interface PasswordPort {
  /**
   * A PHC string. Rejects with ChatError TRY_LATER when too many wait.
   * @param turn Who asks: those who wait go by turns. @default ""
   */
  hash(password: string, turn?: string): Promise<string>;
  /** Whether it matches; takes as long when `hash` is undefined (no such user). */
  verify(password: string, hash: string | undefined, turn?: string): Promise<boolean>;
  /** A new hash of a password just verified, when `hash` costs other than ours; else undefined. */
  upgrade(password: string, hash: string): Promise<string | undefined>;
}
