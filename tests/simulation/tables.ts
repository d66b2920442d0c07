/**
 * What the simulated database holds: the rules of StorePort on maps, synchronous, with undo. No time
 * and no faults; those are database.ts's. Proven against tests/support/store_contract.ts.
 */

import {
  type Append,
  type AppendOutcome,
  type ContactsRow,
  DELETED_NAME,
  type GroupId,
  type GroupRow,
  type HistoryPage,
  type JoinedGroup,
  listedOf,
  MAX_LISTED_GROUPS,
  MAX_LISTED_MEMBERS,
  MAX_ORIGINS,
  type MemberRow,
  type Message,
  type Mid,
  ORIGIN_FRESH_MS,
  type PersonRow,
  type Receipt,
  type RenewedToken,
  type UserId,
  type UserRow,
} from "../../actors/ports.ts";
import { storedMessage } from "../support/stored_message.ts";
import { foldedName, nameKey } from "../../actors/adapters/name_key.ts";

/** Takes one change back. */
export type Undo = () => void;

interface GroupEntry {
  readonly id: GroupId;
  readonly groupname: string;
  readonly groupdesc: string;
  readonly members: Map<UserId, "creator" | "normal">;
}

/** Flags that break the rules on purpose. */
export interface TableFlaws {
  /** A `(from, cid)` may be stored twice. */
  duplicateCids: boolean;
}

/** See the module's header. */
export class Tables {
  readonly flaws: TableFlaws = { duplicateCids: false };
  readonly messages = new Map<Mid, Message>();
  /** When a message was stored, by `now`. */
  readonly storedAt = new Map<Mid, number>();
  /** Who a message was stored for. */
  readonly recipients = new Map<Mid, readonly UserId[]>();
  readonly #byCid = new Map<string, Mid>();
  readonly #pending = new Map<UserId, Set<Mid>>();
  readonly #users = new Map<UserId, UserRow>();
  readonly #names = new Map<string, UserId>();
  readonly #friends = new Map<UserId, Set<UserId>>();
  readonly #groups = new Map<GroupId, GroupEntry>();
  readonly #groupNames = new Map<string, GroupId>();
  readonly #origins = new Map<UserId, ReadonlyMap<string, number>>();
  readonly #tokens = new Map<string, { user: UserId; expires: number; device: string }>();
  readonly #secrets = new Map<string, string>();
  readonly #now: () => number;
  #lastUser = 0;
  #undo: Undo[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Runs `work`; returns its result and what takes its changes back. */
  transaction<T>(work: () => T): { result: T; undo: Undo[] } {
    this.#undo = [];
    const result = work();
    const undo = this.#undo;
    this.#undo = [];
    return { result, undo };
  }

  /** Mids that `user` has not received, unordered. */
  pendingMids(user: UserId): ReadonlySet<Mid> {
    return this.#pending.get(user) ?? new Set();
  }

  commit(appends: readonly Append[], receipts: readonly Receipt[]): AppendOutcome[] {
    const outcomes = appends.map(({ message, confirmed }) => {
      const received = receipts.filter((r) => r.mid === message.mid).map((r) => r.user);
      return this.#append(message, [...confirmed, ...received]);
    });
    for (const { user, mid } of receipts) this.#drop(user, mid);
    return outcomes;
  }

  #append(message: Message, confirmed: readonly UserId[]): AppendOutcome {
    const { mid, cid, from, toid, groupid } = message;
    const members = this.#groups.get(groupid)?.members;
    const known = this.flaws.duplicateCids ? undefined : this.#byCid.get(`${from} ${cid}`);
    if (known !== undefined && known !== mid) {
      return { status: "duplicate", mid: known, ts: this.messages.get(known)?.ts ?? 0 };
    }
    if (known === undefined) {
      const exists = groupid === 0 ? this.#users.has(toid) : members !== undefined;
      if (!exists) return { status: "no_such_target" };
      const allowed = groupid === 0 ? this.#users.has(from) : members?.has(from) === true;
      if (!allowed) return { status: "not_permitted" };
    }
    const recipients = groupid === 0
      ? [toid]
      : [...members?.keys() ?? []].filter((user) => user !== from);
    if (known === undefined) {
      this.#insert(this.messages, mid, message);
      this.#insert(this.#byCid, `${from} ${cid}`, mid);
      this.#insert(this.recipients, mid, recipients);
      this.storedAt.set(mid, this.#now());
    }
    const pending: UserId[] = [];
    for (const user of recipients) {
      if (confirmed.includes(user)) {
        if (known !== undefined) this.#drop(user, mid);
      } else if (known === undefined) {
        this.#wait(user, mid);
        pending.push(user);
      } else if (this.#pending.get(user)?.has(mid)) pending.push(user);
    }
    return { status: "stored", pending };
  }

  pending(user: UserId, after: Mid, limit: number): Message[] {
    const mids = [...this.pendingMids(user)].filter((mid) => mid > after).sort();
    return this.#rows(mids.slice(0, limit));
  }

  lastMid(from: UserId, toid: UserId, groupid: GroupId): Mid {
    let last = "";
    for (const m of this.messages.values()) {
      const same = m.from === from && m.groupid === groupid && (groupid !== 0 || m.toid === toid);
      if (same && m.mid > last) last = m.mid;
    }
    return last;
  }

  historyWith(user: UserId, peer: UserId, before: Mid, limit: number): HistoryPage {
    return this.#page(before, limit, (m) =>
      m.groupid === 0 &&
      ((m.from === user && m.toid === peer) || (m.from === peer && m.toid === user)));
  }

  historyOf(user: UserId, groupid: GroupId, before: Mid, limit: number): HistoryPage | undefined {
    if (!this.#groups.get(groupid)?.members.has(user)) return undefined;
    return this.#page(before, limit, (m) => m.groupid === groupid);
  }

  #page(before: Mid, limit: number, belongs: (m: Message) => boolean): HistoryPage {
    const mids = [...this.messages.values()]
      .filter((m) => (before === "" || m.mid < before) && belongs(m))
      .map((m) => m.mid).sort();
    return { messages: this.#rows(mids.slice(-limit)), more: mids.length > limit };
  }

  /** Messages as they are read back: with the sender's name of now, without what is not stored. */
  #rows(mids: readonly Mid[]): Message[] {
    const rows: Message[] = [];
    for (const mid of mids) {
      const m = this.messages.get(mid);
      if (m === undefined) continue;
      rows.push(storedMessage(m, this.#users.get(m.from)?.name ?? DELETED_NAME));
    }
    return rows;
  }

  register(name: string, hash: string): UserId | undefined {
    const key = nameKey(name);
    if (this.#names.has(key)) return undefined;
    const id = ++this.#lastUser;
    this.#insert(this.#users, id, { id, name, hash });
    this.#insert(this.#names, key, id);
    return id;
  }

  userById(id: UserId): UserRow | undefined {
    return this.#users.get(id);
  }

  userByName(name: string): UserRow | undefined {
    const row = this.#users.get(this.#names.get(nameKey(name)) ?? 0);
    return row !== undefined && foldedName(row.name) === foldedName(name) ? row : undefined;
  }

  setHash(id: UserId, hash: string, expected?: string): void {
    const row = this.#users.get(id);
    if (row === undefined || (expected ?? row.hash) !== row.hash) return;
    this.#insert(this.#users, id, { ...row, hash });
  }

  changePassword(id: UserId, hash: string, renewed?: RenewedToken): void {
    this.setHash(id, hash);
    const old = renewed === undefined ? undefined : this.#tokens.get(renewed.from);
    this.revokeToken(id, undefined);
    if (old?.user !== id || renewed === undefined) return;
    this.#insert(this.#tokens, renewed.to, { ...old, expires: renewed.expires });
  }

  deleteUser(id: UserId): GroupId[] {
    const row = this.#users.get(id);
    if (row === undefined) return [];
    this.#remove(this.#users, id);
    this.#remove(this.#names, nameKey(row.name));
    this.#remove(this.#friends, id);
    this.#remove(this.#pending, id);
    this.#remove(this.#origins, id);
    this.revokeToken(id, undefined);
    for (const friends of this.#friends.values()) {
      if (friends.delete(id)) this.#undo.push(() => friends.add(id));
    }
    const left = [...this.#groups.values()].filter(({ members }) => members.has(id));
    for (const { members } of left) this.#remove(members, id);
    return left.map((group) => group.id);
  }

  contacts(user: UserId): ContactsRow {
    const friends: PersonRow[] = [];
    for (const id of [...this.#friends.get(user) ?? []].sort((a, b) => a - b)) {
      friends.push({ id, name: this.#users.get(id)?.name ?? "" });
    }
    const own = [...this.#groups.values()].filter(({ members }) => members.has(user));
    const groups = own.map((group, at) => {
      const row = this.#groupRow(group);
      const each = at < MAX_LISTED_GROUPS ? listedOf(own.length) : 0;
      return { ...row, users: row.users.slice(0, each) };
    });
    return { friends, groups };
  }

  addFriend(user: UserId, friend: UserId | string, most = 0): PersonRow | "full" | undefined {
    const found = typeof friend === "string" ? this.userByName(friend) : this.userById(friend);
    if (found === undefined || !this.#users.has(user)) return undefined;
    let friends = this.#friends.get(user);
    if (friends === undefined) this.#friends.set(user, friends = new Set());
    if (most > 0 && friends.size >= most && !friends.has(found.id)) return "full";
    this.#add(friends, found.id);
    return { id: found.id, name: found.name };
  }

  removeFriend(user: UserId, friend: UserId | string): PersonRow | undefined {
    const found = typeof friend === "string" ? this.userByName(friend) : this.userById(friend);
    if (found === undefined) return undefined;
    const friends = this.#friends.get(user);
    if (friends?.delete(found.id)) this.#undo.push(() => friends.add(found.id));
    return { id: found.id, name: found.name };
  }

  createGroup(
    user: UserId,
    name: string,
    desc: string,
    mostGroups = 0,
  ): GroupId | "too_many" | undefined {
    const key = nameKey(name);
    if (!this.#users.has(user) || this.#groupNames.has(key)) return undefined;
    if (this.#isInTooMany(user, mostGroups)) return "too_many";
    const id = this.#groups.size + 1;
    const members = new Map<UserId, "creator" | "normal">([[user, "creator"]]);
    this.#insert(this.#groups, id, { id, groupname: name, groupdesc: desc, members });
    this.#insert(this.#groupNames, key, id);
    return id;
  }

  #isInTooMany(user: UserId, most: number): boolean {
    if (most === 0) return false;
    return [...this.#groups.values()].filter(({ members }) => members.has(user)).length >= most;
  }

  joinGroup(
    user: UserId,
    group: GroupId | string,
    most = 0,
    mostGroups = 0,
  ): JoinedGroup | "full" | "too_many" | undefined {
    const id = typeof group === "string" ? this.#groupNames.get(nameKey(group)) ?? 0 : group;
    const entry = this.#groups.get(id);
    if (entry === undefined || !this.#users.has(user)) return undefined;
    const { members } = entry;
    if (members.has(user)) {
      return { isNew: false, group: { ...this.#groupRow(entry), users: [] } };
    }
    if (most > 0 && members.size >= most) return "full";
    if (this.#isInTooMany(user, mostGroups)) return "too_many";
    this.#insert(members, user, "normal");
    const row = this.#groupRow(entry);
    return { isNew: true, group: { ...row, users: row.users.slice(0, MAX_LISTED_MEMBERS) } };
  }

  group(id: GroupId): GroupRow | undefined {
    const entry = this.#groups.get(id);
    return entry === undefined ? undefined : this.#groupRow(entry);
  }

  #groupRow({ id, groupname, groupdesc, members }: GroupEntry): GroupRow {
    const users: MemberRow[] = [];
    for (const user of [...members.keys()].sort((a, b) => a - b)) {
      const role = members.get(user) ?? "normal";
      users.push({ id: user, name: this.#users.get(user)?.name ?? "", role });
    }
    return { id, groupname, groupdesc, size: users.length, users };
  }

  saveToken(tokenId: string, user: UserId, expires: number, device = "", most = 0): void {
    if (!this.#users.has(user)) throw new Error(`no user ${user}`);
    this.#insert(this.#tokens, tokenId, { user, expires, device });
    if (most === 0) return;
    const own = [...this.#tokens].filter(([, token]) => token.user === user)
      .sort(([a, x], [b, y]) => y.expires - x.expires || (a < b ? 1 : -1));
    for (const [id] of own.slice(most)) this.revokeToken(user, id);
  }

  noteOrigins(user: UserId, origins: readonly string[], now: number): void {
    if (!this.#users.has(user)) throw new Error(`no user ${user}`);
    const known = new Map(this.#origins.get(user));
    for (const origin of origins) {
      if ((known.get(origin) ?? -Infinity) < now - ORIGIN_FRESH_MS) known.set(origin, now);
    }
    const newest = [...known].sort(([a, x], [b, y]) => y - x || (a < b ? 1 : -1));
    this.#insert(this.#origins, user, new Map(newest.slice(0, MAX_ORIGINS)));
  }

  knownOrigins(user: UserId, origins: readonly string[]): string[] {
    return origins.filter((origin) => this.#origins.get(user)?.has(origin));
  }

  tokenOwner(tokenId: string, now: number, device = ""): PersonRow | undefined {
    const token = this.#tokens.get(tokenId);
    const row = token !== undefined && token.expires > now && token.device === device
      ? this.#users.get(token.user)
      : undefined;
    return row === undefined ? undefined : { id: row.id, name: row.name };
  }

  revokeToken(user: UserId, tokenId: string | undefined): void {
    for (const [id, token] of [...this.#tokens]) {
      if (token.user !== user || (tokenId !== undefined && tokenId !== id)) continue;
      this.#tokens.delete(id);
      this.#undo.push(() => this.#tokens.set(id, token));
    }
  }

  secret(name: string, fresh: string): string {
    const known = this.#secrets.get(name);
    if (known !== undefined) return known;
    this.#insert(this.#secrets, name, fresh);
    return fresh;
  }

  // ── changes that can be taken back ──────────────────────────────────────────────────────────

  #insert<K, V>(map: Map<K, V>, key: K, value: V): void {
    const before = map.get(key);
    map.set(key, value);
    this.#undo.push(() => before === undefined ? map.delete(key) : map.set(key, before));
  }

  #remove<K, V>(map: Map<K, V>, key: K): void {
    const before = map.get(key);
    if (before !== undefined && map.delete(key)) this.#undo.push(() => map.set(key, before));
  }

  #add<V>(set: Set<V>, value: V): void {
    if (set.has(value)) return;
    set.add(value);
    this.#undo.push(() => set.delete(value));
  }

  #wait(user: UserId, mid: Mid): void {
    let mids = this.#pending.get(user);
    if (mids === undefined) this.#pending.set(user, mids = new Set());
    this.#add(mids, mid);
  }

  #drop(user: UserId, mid: Mid): void {
    const mids = this.#pending.get(user);
    if (mids?.delete(mid)) this.#undo.push(() => mids.add(mid));
  }
}
