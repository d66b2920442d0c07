/**
 * REGISTER, LOGIN, RESUME, LOGOUT, CHANGE_PASSWORD, DELETE_ACCOUNT: makes and ends accounts, and logs
 * sessions in and out.
 */

import { ChatError } from "@chat/wire/errors.ts";
import {
  ChangePassword,
  DeleteAccount,
  type Friend,
  type Group,
  type Login,
  LoginV1,
  LoginV2,
  Logout,
  MSGID,
  Register,
  Resume,
  type Want,
} from "@chat/wire/messages.ts";
import { addressKey, type Attempt, deviceKey, type Verdict } from "../accounts/guard.ts";
import type { ContactsRow, GroupRow, Message, Mid, PersonRow, UserId, UserRow } from "../ports.ts";
import { pushTextV1, utf8Length } from "../sessions/push_text.ts";
import { classicLists } from "./classic_lists.ts";
import type { Replica } from "../routing/replica.ts";
import { Delivery } from "../sessions/delivery.ts";
import type { Session } from "../sessions/session.ts";
import { echo, entry, type Handler, type Host, type Requests } from "./types.ts";

/** Deadline of a claim on the online entry, ms: above the bus adapter's own (1 s). */
const CLAIM_MS = 3_000;
/** Deadline of a question to the guard, ms. */
const GUARD_MS = 3_000;
/** Most messages handed over in a v1 LOGIN_ACK; the rest follow as pushes. */
const MAX_HAND_OVER = 1_000;

// REGISTER name, password → REGISTER_ACK id | NAME_TAKEN
const register: Handler<Register> = async (session, m, host) => {
  const { remote } = session;
  const verdict = await host.guard.ask<Verdict>({ type: "register", remote }, GUARD_MS);
  waitOrGo(verdict);
  const hash = await host.passwords.hash(m.password, verdict.network);
  const id = await host.store.call("register", m.name, hash);
  if (id === undefined) {
    // The classic wording, which classic clients show.
    throw new ChatError("NAME_TAKEN", session.v === 1 ? "注册失败!" : undefined);
  }
  host.reply(session, { msgid: MSGID.REGISTER_ACK, errno: 0, id, ...echo(m) });
};

// LOGIN id | name, password → LOGIN_ACK | WRONG_CREDENTIALS | ALREADY_ONLINE
const login: Handler<Login> = async (session, m, host) => {
  const { id, name = "" } = m;
  const row = id !== undefined
    ? await host.store.call("userById", id)
    : await host.store.call("userByName", name);
  // One count for an account, whether asked for by id or by name; one for each that there is not.
  const account = id === undefined && row === undefined
    ? `name ${name.normalize("NFC").toLowerCase()}`
    : `id ${row?.id ?? id}`;
  const device = m.device ?? "";
  const { user, network } = await prove(session, row, account, m.password, device, host);
  want(session, m.want);
  passSeen(m.seen, host);
  const isStillProved = async () => {
    const now = await host.store.call("userById", user.id);
    // Another log-in may have replaced the hash by a dearer one of the same password.
    return now !== undefined &&
      (now.hash === user.hash || await host.passwords.verify(m.password, now.hash, network));
  };
  const ticket = { device, token: undefined, isStillProved };
  await enter(session, user, ticket, false, host, m.req);
  noteOrigins(user.id, originsOf(device, network), host);
  upgradeHash(user, m.password, host);
};

/**
 * Checks a password, at the pace that the guard allows.
 * @throws {ChatError} WRONG_CREDENTIALS, the same after the same time for a user that does not exist.
 */
async function prove(
  session: Session,
  row: UserRow | undefined,
  account: string,
  password: string,
  device: string,
  host: Host,
): Promise<{ user: UserRow; network: string }> {
  let attempt: Attempt = { remote: session.remote, account };
  const ask = () => host.guard.ask<Verdict>({ type: "login", ...attempt }, GUARD_MS);
  let verdict = await ask();
  const { network } = verdict;
  if (verdict.unlessKnown) {
    const origins = originsOf(device, network);
    const [known] = await host.store.call("knownOrigins", row?.id ?? 0, origins);
    if (known !== undefined) {
      attempt = { ...attempt, known };
      verdict = await ask();
    }
  }
  waitOrGo(verdict);
  let result: "right" | "wrong" | "unknown" = "unknown";
  try {
    result = await host.passwords.verify(password, row?.hash, network) ? "right" : "wrong";
  } finally {
    host.guard.tell({ type: "result", ...attempt, result });
  }
  if (row === undefined || result !== "right") throw new ChatError("WRONG_CREDENTIALS");
  return { user: row, network };
}

/** What is known of an account's owner, the better first: a device is nobody else's. */
function originsOf(device: string, network: string): string[] {
  return [...(device === "" ? [] : [deviceKey(device)]), addressKey(network)];
}

/** Whoever comes from there again does not wait for others' guesses; nobody waits for the note. */
function noteOrigins(user: UserId, origins: readonly string[], host: Host): void {
  host.store.call("noteOrigins", user, origins, host.clock.now()).catch((error) => {
    if (!(error instanceof ChatError)) throw error;
    // Put off, as there is too much to do: the next log-in tries again.
  });
}

/** A hash of another cost than today's is replaced; nobody waits for that. */
function upgradeHash({ id, hash }: UserRow, password: string, host: Host): void {
  const upgrade = async () => {
    const better = await host.passwords.upgrade(password, hash);
    if (better !== undefined) await host.store.call("setHash", id, better, hash);
  };
  upgrade().catch((error) => {
    if (!(error instanceof ChatError)) throw error;
    // Put off, as there is too much to do: the next log-in tries again.
  });
}

// CHANGE_PASSWORD old, new → OK token | WRONG_CREDENTIALS. Every token ends: the one in use may have
// been stolen, so this session goes on with a new one.
const changePassword: Handler<ChangePassword> = async (session, m, host) => {
  const { user } = session;
  const network = await proveAgain(session, m.old, host);
  if (network === undefined) throw new ChatError("WRONG_CREDENTIALS");
  const hash = await host.passwords.hash(m.new, network);
  const expires = host.clock.now() + host.settings.tokenMs;
  const { token, tokenId } = host.signer.issue(user, expires);
  const renewed = { from: session.tokenId, to: tokenId, expires };
  await host.store.call("changePassword", user, hash, renewed);
  if (session.user === user && !session.closed) {
    session.tokenId = tokenId;
    host.remember(session);
  }
  host.reply(session, { msgid: MSGID.OK, token, ...echo(m) });
};

// DELETE_ACCOUNT password → OK, then BYE | WRONG_CREDENTIALS
const deleteAccount: Handler<DeleteAccount> = async (session, m, host) => {
  const { user } = session;
  if (user !== 0) { // else a worker died that had done it
    const isThere = await proveAgain(session, m.password, host) !== undefined;
    // Else a worker died between the deletion and its end: it is done, and nothing is left to prove.
    const groups = isThere ? await host.store.call("deleteUser", user) : [];
    const left = leave(session, host);
    for (const group of groups) host.groupChanged(group, 0);
    await left;
  }
  host.reply(session, { msgid: MSGID.OK, ...echo(m) });
  host.close(session, "WRONG_CREDENTIALS", "the account is deleted");
};

/** @returns What the address counts as; undefined when the account is gone. */
async function proveAgain(
  session: Session,
  password: string,
  host: Host,
): Promise<string | undefined> {
  const { user, device } = session;
  const row = await host.store.call("userById", user);
  if (row === undefined) return undefined;
  const { network } = await prove(session, row, `id ${user}`, password, device, host);
  if (session.closed || session.user !== user) throw new ChatError("NOT_LOGGED_IN");
  return network;
}

// RESUME token → LOGIN_ACK | WRONG_CREDENTIALS. Takes the old connection's place.
const resume: Handler<Resume> = async (session, m, host) => {
  session.v = 2;
  const now = host.clock.now();
  const claims = host.signer.check(m.token, now);
  const owner = claims &&
    await host.store.call("tokenOwner", claims.tokenId, now, m.device ?? "");
  if (claims === undefined || owner === undefined || owner.id !== claims.user) {
    throw new ChatError("WRONG_CREDENTIALS", "the token is invalid or has expired: log in");
  }
  want(session, m.want);
  passSeen(m.seen, host);
  const device = m.device ?? "";
  const isStillProved = async () => {
    const still = await host.store.call("tokenOwner", claims.tokenId, now, device);
    return still?.id === owner.id;
  };
  const held = { token: m.token, tokenId: claims.tokenId };
  await enter(session, owner, { device, token: held, isStillProved }, true, host, m.req);
};

/** The token to go on with, if there is one, and the device that it is for. */
interface Ticket {
  readonly device: string;
  readonly token: { readonly token: string; readonly tokenId: string } | undefined;
  /**
   * Whether what let the user in does so still. Asked once the location is claimed and the token saved:
   * whoever changes the password or revokes the token later finds both, and ends them.
   */
  readonly isStillProved: () => Promise<boolean>;
}

// LOGOUT → v2: OK. The token in use ends. While it cannot, the session goes on. What came before it
// is answered before it: the store answers once that is committed.
const logout: Handler<Logout> = async (session, m, host) => {
  const { user, tokenId } = session;
  if (user !== 0) { // else a worker died that had done it
    if (tokenId !== "") await host.store.call("revokeToken", user, tokenId);
    if (session.closed || session.user !== user) return; // another connection took its place
    await leave(session, host); // who reads the answer may log in on another node at once
  }
  if (session.v === 2) host.reply(session, { msgid: MSGID.OK, ...echo(m) });
};

/** The frame in hand ends the login: should this worker die now, the next one only answers it. */
function leave(session: Session, host: Host): Promise<void> {
  session.leftBy = session.seq;
  const left = host.leave(session);
  host.remember(session);
  return left;
}

function waitOrGo({ waitMs }: Pick<Verdict, "waitMs">): void {
  if (waitMs === 0) return;
  throw new ChatError("TOO_FAST", `too many attempts: wait ${Math.ceil(waitMs / 1_000)} s`, {
    cause: waitMs,
  });
}

function want(session: Session, wants: readonly Want[] | undefined): void {
  session.wantsDelivered = wants?.includes("delivered") ?? false;
  session.wantsTyping = wants?.includes("typing") ?? false;
}

/**
 * What a client has had may have been pushed by another node and not be stored yet: that node's clock
 * may be ahead, and answers given here sort after it all the same (G3).
 */
function passSeen(seen: Mid | undefined, host: Host): void {
  if (seen !== undefined && host.hlc.believes(seen)) host.hlc.observe(seen);
}

/**
 * Claims the online entry, then answers. Pushes are held from before the claim, so that none can
 * slip between it and the pending rows (G4).
 */
async function enter(
  session: Session,
  who: PersonRow,
  ticket: Ticket,
  takeover: boolean,
  host: Host,
  req: string | number | undefined,
): Promise<void> {
  const { conn } = session;
  if (session.closed) return;
  const waitMs = host.quotas.logIn(who.id);
  if (waitMs > 0) waitOrGo({ waitMs });
  session.begin(who.id, who.name, host.clock.now());
  session.device = ticket.device;
  try {
    const claim = { type: "claim", user: who.id, conn, takeover } as const;
    if (!(await host.registry.ask<boolean>(claim, CLAIM_MS))) throw new ChatError("ALREADY_ONLINE");
    const contacts = await host.store.call("contacts", who.id);
    if (session.closed) return host.leave(session);
    if (session.v === 1) await answerV1(session, who, contacts, ticket, host);
    else await answerV2(session, who, contacts, ticket, host, req);
  } catch (error) {
    const refused = error instanceof ChatError && error.code === "ALREADY_ONLINE";
    if (refused) session.end();
    // Whoever has waited for all of a deadline is answered: the entry goes when its owner gets on.
    else void host.leave(session);
    throw error;
  }
}

async function answerV1(
  session: Session,
  who: PersonRow,
  contacts: ContactsRow,
  ticket: Ticket,
  host: Host,
): Promise<void> {
  if (!await ticket.isStillProved()) throw new ChatError("WRONG_CREDENTIALS");
  const rows = await host.store.call("pending", who.id, "", MAX_HAND_OVER);
  if (session.closed) return host.leave(session);
  const most = host.settings.classicBytes - 1;
  const { friends, groups } = withStates(contacts, who.id, host.replica);
  const lists = classicLists({ id: who.id, name: who.name }, friends, groups, most);
  const ack: Record<string, unknown> & { msgid: number } = {
    msgid: MSGID.LOGIN_ACK,
    errno: 0,
    id: who.id,
    name: who.name,
  };
  const texts: string[] = [];
  let room = most <= 0 ? Infinity : most - utf8Length(JSON.stringify({ ...ack, ...lists })) -
    utf8Length(',"offlinemsg":[]');
  for (const row of rows) {
    room -= utf8Length(JSON.stringify(pushTextV1(row))) + 1;
    if (session.full || room < 0) break; // the rest follow as pushes
    texts.push(handOver(session, row, host));
  }
  if (texts.length > 0) ack.offlinemsg = texts;
  Object.assign(ack, lists);
  host.remember(session);
  host.replyHandOver(session, ack);
  host.startPull(session);
}

function handOver(session: Session, row: Message, host: Host): string {
  host.hlc.observe(row.mid);
  session.handOver(new Delivery(row, 0, row.groupid === 0, false));
  return pushTextV1(row);
}

async function answerV2(
  session: Session,
  who: PersonRow,
  contacts: ContactsRow,
  ticket: Ticket,
  host: Host,
  req: string | number | undefined,
): Promise<void> {
  let { token } = ticket;
  if (token === undefined) {
    const expires = host.clock.now() + host.settings.tokenMs;
    token = host.signer.issue(who.id, expires);
    const { device } = ticket;
    const { maxTokens } = host.settings;
    await host.store.call("saveToken", token.tokenId, who.id, expires, device, maxTokens);
  }
  if (!await ticket.isStillProved()) {
    await host.store.call("revokeToken", who.id, token.tokenId);
    throw new ChatError("WRONG_CREDENTIALS");
  }
  if (session.closed) return host.leave(session);
  session.tokenId = token.tokenId;
  const lists = withStates(contacts, who.id, host.replica);
  host.presence.watch(session, watched(contacts));
  for (const group of contacts.groups) {
    if (group.size === group.users.length) host.groups.put(group);
  }
  host.remember(session);
  host.reply(session, {
    msgid: MSGID.LOGIN_ACK,
    errno: 0,
    id: who.id,
    name: who.name,
    ...lists,
    token: token.token,
    heartbeat: host.settings.heartbeatSeconds,
    node: host.settings.node,
    now: host.clock.now(),
    ...echo({ req }),
  });
  host.startPull(session);
}

function* watched(contacts: ContactsRow): Generator<UserId> {
  for (const friend of contacts.friends) yield friend.id;
  for (const group of contacts.groups) {
    for (const member of group.users) yield member.id;
  }
}

/** Adds who is online. The user who asks is: the claim has been granted. */
function withStates(
  contacts: ContactsRow,
  self: UserId,
  replica: Replica,
): { friends: Friend[]; groups: Group[] } {
  return {
    friends: contacts.friends.map((f) => personState(f, self, replica)),
    groups: contacts.groups.map((g) => groupStates(g, self, replica)),
  };
}

/** A person with `state`. */
export function personState<P extends PersonRow>(
  { id, name, ...rest }: P,
  self: UserId,
  replica: Replica,
): P & { state: "online" | "offline" } {
  const online = id === self || replica.location(id) !== 0;
  return { id, name, state: online ? "online" : "offline", ...rest } as P & {
    state: "online" | "offline";
  };
}

/** A group with its members' states. */
export function groupStates(group: GroupRow, self: UserId, replica: Replica): Group {
  const { id, groupname, groupdesc, size } = group;
  const users = group.users.map((u) => personState(u, self, replica));
  return { id, groupname, groupdesc, ...(size !== users.length && { size }), users };
}

/** Rows of the handler table. */
export const ACCOUNT_REQUESTS: Requests = {
  both: [
    [MSGID.REGISTER, entry("any", Register, register)],
    [MSGID.RESUME, entry("connected", Resume, resume)],
    [MSGID.LOGOUT, entry("loggedIn", Logout, logout)],
  ],
  v1: [[MSGID.LOGIN, entry("connected", LoginV1, login)]],
  v2: [
    [MSGID.LOGIN, entry("connected", LoginV2, login)],
    [MSGID.CHANGE_PASSWORD, entry("loggedIn", ChangePassword, changePassword)],
    [MSGID.DELETE_ACCOUNT, entry("loggedIn", DeleteAccount, deleteAccount)],
  ],
};
