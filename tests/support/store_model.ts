/**
 * The store contract as plain data in memory: what the databases are compared with. Slow and
 * obvious on purpose; not for use in a node.
 */

import { storedMessage } from "./stored_message.ts";
import { nameKey } from "../../actors/adapters/name_key.ts";
import {
  type AppendOutcome,
  DELETED_NAME,
  type GroupId,
  type GroupRow,
  type HistoryPage,
  MAX_ORIGINS,
  type Message,
  type Mid,
  ORIGIN_FRESH_MS,
  type PersonRow,
  type RenewedToken,
  type StorePort,
  type UserId,
  type UserRow,
} from "../../actors/ports.ts";

interface ModelGroup {
  name: string;
  desc: string;
  roles: Map<UserId, "creator" | "normal">;
}

/** A StorePort without a database. Ids count from 1, as those of an empty database do. */
export function modelStore(): StorePort {
  const users: UserRow[] = [];
  const friends = new Map<UserId, Set<UserId>>();
  const groups: ModelGroup[] = [];
  const messages: Message[] = [];
  const waiting = new Set<string>(); // `${user} ${mid}`
  const tokens = new Map<string, { user: UserId; expires: number; device: string }>();
  const origins = new Map<UserId, Map<string, number>>();
  const secrets = new Map<string, string>();

  const byName = (name: string) =>
    users.find((user) => user.hash !== "" && nameKey(user.name) === nameKey(name));
  const byId = (id: UserId): UserRow | undefined => {
    const user = users[id - 1];
    return user?.hash === "" ? undefined : user;
  };
  const person = (user: UserRow): PersonRow => ({ id: user.id, name: user.name });
  const groupRow = (id: GroupId): GroupRow | undefined => {
    const group = groups[id - 1];
    if (group === undefined) return undefined;
    return {
      id,
      groupname: group.name,
      groupdesc: group.desc,
      size: group.roles.size,
      users: users.flatMap((user) => {
        const role = group.roles.get(user.id);
        return role === undefined ? [] : [{ ...person(user), role }];
      }),
    };
  };
  const isInTooMany = (user: UserId, most: number) =>
    most > 0 && groups.filter(({ roles }) => roles.has(user)).length >= most;
  const read = (keep: (message: Message) => boolean): Message[] =>
    messages.filter(keep).toSorted((a, b) => a.mid < b.mid ? -1 : 1)
      .map((message) => storedMessage(message, users[message.from - 1]?.name ?? ""));
  const page = (all: Message[], before: Mid, limit: number): HistoryPage => {
    const older = all.filter((message) => before === "" || message.mid < before);
    return { messages: older.slice(-limit), more: older.length > limit };
  };

  const append = (message: Message, confirmed: readonly UserId[]): AppendOutcome => {
    const { mid, cid, from, toid, groupid } = message;
    const first = messages.find((one) => one.from === from && one.cid === cid);
    if (first !== undefined && first.mid !== mid) {
      return { status: "duplicate", mid: first.mid, ts: first.ts };
    }
    const members = groups[groupid - 1]?.roles;
    const recipients = groupid === 0
      ? [toid]
      : [...members?.keys() ?? []].filter((user) => user !== from);
    if (first !== undefined) {
      for (const user of confirmed) waiting.delete(`${user} ${mid}`);
      return {
        status: "stored",
        pending: recipients.filter((user) => waiting.has(`${user} ${mid}`)),
      };
    }
    if (groupid === 0 ? byId(toid) === undefined : (members?.size ?? 0) === 0) {
      return { status: "no_such_target" };
    }
    if (groupid === 0 ? byId(from) === undefined : !members?.has(from)) {
      return { status: "not_permitted" };
    }
    messages.push(message);
    const pending = recipients.filter((user) => !confirmed.includes(user));
    for (const user of pending) waiting.add(`${user} ${mid}`);
    return { status: "stored", pending };
  };

  const calls = {
    commit(...[appends, receipts]: Parameters<StorePort["commit"]>) {
      const outcomes = appends.map(({ message, confirmed }) => append(message, confirmed));
      for (const { user, mid } of receipts) waiting.delete(`${user} ${mid}`);
      return outcomes.map((outcome, at): AppendOutcome => {
        if (outcome.status !== "stored") return outcome;
        const mid = appends[at]?.message.mid;
        return {
          status: "stored",
          pending: outcome.pending.filter((user) => waiting.has(`${user} ${mid}`)),
        };
      });
    },
    pending: (user: UserId, after: Mid, limit: number) =>
      read(({ mid }) => waiting.has(`${user} ${mid}`) && mid > after).slice(0, limit),
    lastMid: (from: UserId, toid: UserId, groupid: GroupId) =>
      read((one) => one.from === from && one.toid === toid && one.groupid === groupid)
        .at(-1)?.mid ?? "",
    historyWith: (user: UserId, peer: UserId, before: Mid, limit: number) =>
      page(
        read((one) =>
          one.groupid === 0 &&
          ((one.from === user && one.toid === peer) || (one.from === peer && one.toid === user))
        ),
        before,
        limit,
      ),
    historyOf(user: UserId, groupid: GroupId, before: Mid, limit: number) {
      if (!groups[groupid - 1]?.roles.has(user)) return undefined;
      return page(read((one) => one.groupid === groupid), before, limit);
    },
    register(name: string, hash: string) {
      if (byName(name) !== undefined) return undefined;
      return users.push({ id: users.length + 1, name, hash });
    },
    userById: byId,
    userByName: byName,
    setHash(id: UserId, hash: string, expected?: string) {
      const user = byId(id);
      if (user === undefined || (expected ?? user.hash) !== user.hash) return;
      users[id - 1] = { ...user, hash };
    },
    changePassword(id: UserId, hash: string, renewed?: RenewedToken) {
      calls.setHash(id, hash);
      const old = renewed === undefined ? undefined : tokens.get(renewed.from);
      for (const [tokenId, token] of tokens) if (token.user === id) tokens.delete(tokenId);
      if (old?.user !== id || renewed === undefined) return;
      tokens.set(renewed.to, { ...old, expires: renewed.expires });
    },
    deleteUser(id: UserId) {
      const left = groups.flatMap(({ roles }, at) => roles.delete(id) ? [at + 1] : []);
      friends.delete(id);
      for (const others of friends.values()) others.delete(id);
      for (const key of waiting) if (key.startsWith(`${id} `)) waiting.delete(key);
      calls.revokeToken(id, undefined);
      origins.delete(id);
      if (byId(id) !== undefined) users[id - 1] = { id, name: DELETED_NAME, hash: "" };
      return left;
    },
    contacts: (user: UserId) => ({
      friends: users.filter(({ id }) => friends.get(user)?.has(id)).map(person),
      groups: groups.flatMap(({ roles }, at) => {
        const row = roles.has(user) ? groupRow(at + 1) : undefined;
        return row === undefined ? [] : [row];
      }),
    }),
    addFriend(user: UserId, friend: UserId | string, most = 0) {
      const found = typeof friend === "string" ? byName(friend) : byId(friend);
      if (found === undefined || byId(user) === undefined) return undefined;
      const known = friends.get(user) ?? new Set();
      if (most > 0 && known.size >= most && !known.has(found.id)) return "full" as const;
      friends.set(user, (friends.get(user) ?? new Set()).add(found.id));
      return person(found);
    },
    removeFriend(user: UserId, friend: UserId | string) {
      const found = typeof friend === "string" ? byName(friend) : byId(friend);
      if (found === undefined) return undefined;
      friends.get(user)?.delete(found.id);
      return person(found);
    },
    createGroup(user: UserId, name: string, desc: string, mostGroups = 0) {
      if (byId(user) === undefined) return undefined;
      if (groups.some((group) => nameKey(group.name) === nameKey(name))) return undefined;
      if (isInTooMany(user, mostGroups)) return "too_many" as const;
      return groups.push({ name, desc, roles: new Map([[user, "creator"]]) });
    },
    joinGroup(user: UserId, group: GroupId | string, most = 0, mostGroups = 0) {
      const at = typeof group === "string"
        ? groups.findIndex(({ name }) => nameKey(name) === nameKey(group))
        : group - 1;
      const roles = groups[at]?.roles;
      if (roles === undefined || byId(user) === undefined) return undefined;
      const row = groupRow(at + 1);
      if (roles.has(user)) {
        return row === undefined ? undefined : { isNew: false, group: { ...row, users: [] } };
      }
      if (most > 0 && roles.size >= most) return "full" as const;
      if (isInTooMany(user, mostGroups)) return "too_many" as const;
      roles.set(user, "normal");
      const joined = groupRow(at + 1);
      return joined === undefined ? undefined : { isNew: true, group: joined };
    },
    group: groupRow,
    saveToken(tokenId: string, user: UserId, expires: number, device = "", most = 0) {
      if (users[user - 1] === undefined) throw new Error("no such user");
      tokens.set(tokenId, { user, expires, device });
      const own = [...tokens].filter(([, token]) => token.user === user)
        .sort(([a, x], [b, y]) => y.expires - x.expires || (a < b ? 1 : -1));
      if (most > 0) { for (const [id] of own.slice(most)) tokens.delete(id); }
    },
    noteOrigins(user: UserId, from: readonly string[], now: number) {
      if (users[user - 1] === undefined) throw new Error("no such user");
      const known = origins.get(user) ?? new Map<string, number>();
      for (const origin of from) {
        if ((known.get(origin) ?? -Infinity) < now - ORIGIN_FRESH_MS) known.set(origin, now);
      }
      const newest = [...known].sort(([a, x], [b, y]) => y - x || (a < b ? 1 : -1));
      origins.set(user, new Map(newest.slice(0, MAX_ORIGINS)));
    },
    knownOrigins: (user: UserId, from: readonly string[]) =>
      from.filter((origin) => origins.get(user)?.has(origin)),
    tokenOwner(tokenId: string, now: number, device = "") {
      const token = tokens.get(tokenId);
      const isLive = token !== undefined && token.expires > now && token.device === device;
      const user = isLive ? byId(token.user) : undefined;
      return user === undefined ? undefined : person(user);
    },
    revokeToken(user: UserId, tokenId: string | undefined) {
      for (const [id, token] of tokens) {
        if (token.user === user && (tokenId ?? id) === id) tokens.delete(id);
      }
    },
    secret(name: string, fresh: string) {
      if (!secrets.has(name)) secrets.set(name, fresh);
      return secrets.get(name) ?? fresh;
    },
    close() {},
  };
  return promised(calls);
}

/** The same functions, each giving a promise. */
function promised(calls: { [K in keyof StorePort]: Sync<StorePort[K]> }): StorePort {
  return {
    commit: async (...args) => await calls.commit(...args),
    pending: async (...args) => await calls.pending(...args),
    lastMid: async (...args) => await calls.lastMid(...args),
    historyWith: async (...args) => await calls.historyWith(...args),
    historyOf: async (...args) => await calls.historyOf(...args),
    register: async (...args) => await calls.register(...args),
    userById: async (...args) => await calls.userById(...args),
    userByName: async (...args) => await calls.userByName(...args),
    setHash: async (...args) => await calls.setHash(...args),
    changePassword: async (...args) => await calls.changePassword(...args),
    deleteUser: async (...args) => await calls.deleteUser(...args),
    contacts: async (...args) => await calls.contacts(...args),
    addFriend: async (...args) => await calls.addFriend(...args),
    removeFriend: async (...args) => await calls.removeFriend(...args),
    createGroup: async (...args) => await calls.createGroup(...args),
    joinGroup: async (...args) => await calls.joinGroup(...args),
    group: async (...args) => await calls.group(...args),
    noteOrigins: async (...args) => await calls.noteOrigins(...args),
    knownOrigins: async (...args) => await calls.knownOrigins(...args),
    saveToken: async (...args) => await calls.saveToken(...args),
    tokenOwner: async (...args) => await calls.tokenOwner(...args),
    revokeToken: async (...args) => await calls.revokeToken(...args),
    secret: async (...args) => await calls.secret(...args),
    close: async () => await calls.close(),
  };
}

type Sync<F> = F extends (...args: infer A) => Promise<infer R> ? (...args: A) => R : never;
