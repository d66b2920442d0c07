/**
 * ONE_CHAT, GROUP_CHAT, RECV_ACK, HISTORY, TYPING. The sender is the session's user, whatever the
 * client wrote (G8). A chat is pushed before its commit and acknowledged after it: a crash between
 * the two makes the sender retry under the same cid, which recipients recognise.
 */

import { ChatError } from "@chat/wire/errors.ts";
import {
  GroupChatV1,
  GroupChatV2,
  History,
  MSGID,
  OneChatV1,
  OneChatV2,
  RecvAck,
  Typing,
} from "@chat/wire/messages.ts";
import { MAX_HISTORY_UNITS } from "@chat/wire/limits.ts";
import type { Message } from "../ports.ts";
import { historyText } from "../sessions/push_text.ts";
import { MAX_RESENT_MS } from "../hlc.ts";
import { WORKER_SPAN } from "../runtime/lane.ts";
import type { Turn } from "../runtime/mailbox.ts";
import { targetKey } from "../sessions/sent_chats.ts";
import type { Session } from "../sessions/session.ts";
import { MAX_OWN_ROWS, rowsOf } from "../store/store_client.ts";
import { entry, type Handler, type Host, type Requests } from "./types.ts";

/** Longest wait for a user's quota that its session keeps to itself, ms. */
const MAX_PAUSE_MS = 2_000;

interface Draft {
  readonly cid: string;
  readonly toid: number;
  readonly groupid: number;
  readonly msg: string;
  readonly extra: string;
  readonly req: string | number | undefined;
  /** Of a chat that is sent again: see the schema. */
  readonly at?: number | undefined;
  readonly seen?: string | undefined;
}

// ONE_CHAT toid, cid, msg → CHAT_ACK when durable | NO_SUCH_TARGET | TRY_LATER
const oneChatV2: Handler<OneChatV2> = (session, { cid, toid, msg, req, at, seen }, host) =>
  chat(session, { cid, toid, groupid: 0, msg, extra: "", req, at, seen }, host);

// GROUP_CHAT groupid, cid, msg → CHAT_ACK | NO_SUCH_TARGET | NOT_PERMITTED | TRY_LATER
const groupChatV2: Handler<GroupChatV2> = (session, m, host) => {
  const { cid, groupid, msg, req, at, seen } = m;
  return chat(session, { cid, toid: 0, groupid, msg, extra: "", req, at, seen }, host);
};

// ONE_CHAT to | toid, msg, and whatever else → nothing, or ERROR
const oneChatV1: Handler<OneChatV1> = (session, m, host) => {
  const { msgid: _, id: __, name: ___, msg, ...rest } = m;
  const toid = m.to ?? m.toid ?? 0;
  const cid = classicCid(session, host);
  return chat(
    session,
    { cid, toid, groupid: 0, msg, extra: extraText(rest), req: undefined },
    host,
  );
};

// GROUP_CHAT groupid, msg, and whatever else → nothing, or ERROR
const groupChatV1: Handler<GroupChatV1> = (session, m, host) => {
  const { msgid: _, id: __, name: ___, msg, ...rest } = m;
  const { groupid } = m;
  const cid = classicCid(session, host);
  return chat(
    session,
    { cid, toid: 0, groupid, msg, extra: extraText(rest), req: undefined },
    host,
  );
};

// RECV_ACK mids → nothing
const recvAck: Handler<RecvAck> = (session, m) => {
  for (const mid of m.mids) session.receipt(mid);
};

// HISTORY userid | groupid, before, limit → HISTORY_ACK | NO_SUCH_TARGET
const history: Handler<History> = async (session, m, host) => {
  const before = m.before ?? "";
  const page = m.groupid !== undefined
    ? await host.store.call("historyOf", session.user, m.groupid, before, m.limit)
    : await host.store.call("historyWith", session.user, m.userid ?? 0, before, m.limit);
  if (page === undefined) throw new ChatError("NOT_PERMITTED", "you are no member of this group");
  const label = m.req === undefined ? "" : `,"req":${JSON.stringify(m.req)}`;
  const texts = newest(page.messages);
  host.meters.sent.inc(MSGID.HISTORY_ACK);
  const more = page.more || texts.length < page.messages.length;
  host.replyText(
    session,
    `{"msgid":${MSGID.HISTORY_ACK},"messages":[${texts.join(",")}],"more":${more}${label}}`,
  );
};

/** As many of a page as one answer may hold, the newest, oldest first; one at least. */
function newest(messages: readonly Message[]): string[] {
  const texts: string[] = [];
  let units = 0;
  for (const message of messages.toReversed()) {
    const text = historyText(message);
    units += text.length;
    if (texts.length > 0 && units > MAX_HISTORY_UNITS) break;
    texts.push(text);
  }
  return texts.reverse();
}

// TYPING toid | groupid → nothing
const typing: Handler<Typing> = (session, m, host) => {
  const { user, name } = session;
  if ((m.groupid === undefined) === (m.toid === undefined)) {
    throw new ChatError("MALFORMED", "needs either toid or groupid");
  }
  if (!session.mayType(targetKey(m.toid ?? 0, m.groupid ?? 0), host.clock.now())) return;
  if (m.groupid === undefined) {
    if (m.toid !== undefined) host.router.typingTo([m.toid], user, name, 0);
    return;
  }
  const group = host.groups.peek(m.groupid);
  if (group?.memberSet.has(user)) {
    host.router.typingTo(group.members.filter((id) => id !== user), user, name, m.groupid);
  }
};

function chat(session: Session, draft: Draft, host: Host): Turn {
  checkOrder(session, draft, host);
  if (host.store.waiting >= host.settings.maxStoreQueue) {
    // A v1 client never sends a message again: instead of being refused it is read no further.
    if (session.v === 1) return whenRoom(session, draft, host);
    host.putOff(session, draft.cid, session.seq);
    throw new ChatError("TRY_LATER", "the store is behind, try again later");
  }
  if (session.rowsInStore >= MAX_OWN_ROWS) return whenOwnRoom(session, draft, host);
  const { groupid, msg } = draft;
  const recipients = groupid === 0 ? 0 : host.groups.peek(groupid)?.members.length ?? 1;
  const waitMs = host.quotas.send(session.user, msg.length, recipients);
  if (waitMs > 0) return whenAllowed(session, draft, waitMs, host);
  const key = targetKey(draft.toid, draft.groupid);
  const prev = session.sent.last(key);
  const ready = prev !== undefined &&
    (draft.groupid === 0 || host.groups.peek(draft.groupid) !== undefined);
  return ready ? submit(session, draft, prev, key, host) : prepare(session, draft, key, host);
}

/** The session's later frames wait in its mailbox, and the main thread reads no more of them. */
async function whenRoom(session: Session, draft: Draft, host: Host): Promise<void> {
  const { user } = session;
  await host.store.room(host.settings.maxStoreQueue);
  if (session.user === user) await chat(session, draft, host); // also when its client has gone
}

/** The same for one that has much on its way: others' messages are not to wait behind it. */
async function whenOwnRoom(session: Session, draft: Draft, host: Host): Promise<void> {
  const { user } = session;
  await host.store.ownRoom(session);
  if (session.user === user) await chat(session, draft, host);
}

/**
 * Over a user's quota a short wait is the session's; for a longer one a v2 client is told to come
 * again. A v1 client would not, so that it is read no further until then.
 */
async function whenAllowed(
  session: Session,
  draft: Draft,
  waitMs: number,
  host: Host,
): Promise<void> {
  const { user } = session;
  if (session.v === 2 && waitMs > MAX_PAUSE_MS) {
    host.putOff(session, draft.cid, session.seq);
    const text = `too many messages a minute: wait ${Math.ceil(waitMs / 1_000)} s`;
    throw new ChatError("TOO_FAST", text, { cause: waitMs });
  }
  await new Promise<void>((resolve) => host.clock.after(waitMs, resolve));
  if (session.user === user) await chat(session, draft, host);
}

/** First chat to a conversation: reads what the order of messages and a group's members rest on. */
async function prepare(session: Session, draft: Draft, key: number, host: Host): Promise<void> {
  const { user, seq } = session;
  let prev: string;
  try {
    prev = await readFirst(session, draft, key, host);
  } catch (error) {
    if (error instanceof ChatError && error.code === "TRY_LATER") {
      host.putOff(session, draft.cid, seq);
    }
    throw error;
  }
  if (session.user !== user || session.closed) return;
  checkOrder(session, draft, host); // an earlier one may have been put off meanwhile
  await submit(session, draft, prev, key, host);
}

/** Loads the group, if there is one; returns the `mid` of the sender's previous message there. */
async function readFirst(
  session: Session,
  { toid, groupid }: Draft,
  key: number,
  host: Host,
): Promise<string> {
  if (groupid !== 0 && host.groups.peek(groupid) === undefined) {
    if (await host.groups.load(groupid) === undefined) throw new ChatError("NO_SUCH_TARGET");
  }
  const known = session.sent.last(key);
  if (known !== undefined) return known;
  const { user } = session;
  const [prev, page] = await Promise.all([
    host.store.call("lastMid", user, toid, groupid),
    groupid === 0
      ? host.store.call("historyWith", user, toid, "", 1)
      : host.store.call("historyOf", user, groupid, "", 1),
  ]);
  // The next mid must sort after both, also when a node with a faster clock gave them: the user
  // may have seen the latest message there and answer it here (G3).
  if (prev !== "") host.hlc.observe(prev);
  for (const { mid } of page?.messages ?? []) host.hlc.observe(mid);
  return prev;
}

function submit(session: Session, draft: Draft, prev: string, key: number, host: Host): Turn {
  const { cid, toid, groupid, extra, req } = draft;
  const msg = draft.msg.isWellFormed() ? draft.msg : draft.msg.toWellFormed();
  const message = {
    mid: stamp(draft, prev, host),
    cid,
    from: session.user,
    name: session.name,
    ts: host.clock.now(),
    toid,
    groupid,
    msg,
    extra,
    prev,
    after: groupid === 0 ? undefined : session.newestIn(groupid),
  };
  // A v1 client is promised nothing: once all recipients have it pushed, the commit may wait.
  let urgent = session.v === 2;
  let pushed: ReadonlySet<number> | number | undefined;
  const group = groupid === 0 ? undefined : host.groups.peek(groupid);
  const cost = rowsOf(group?.members.length ?? 0);
  if (draft.at !== undefined || (session.v === 2 && session.sent.isRepeated(cid))) {
    // Most are stored already: pushed again under an id that is void, they would hold up what others
    // write to the same people, and v1 clients would show them twice. One that is not goes out after
    // its commit.
    urgent = true;
  } else if (groupid === 0) {
    if (host.router.pushTo(message, toid, session.wantsDelivered)) pushed = toid;
    else urgent = true;
  } else {
    if (group === undefined || !group.memberSet.has(session.user)) {
      // The store decides at commit: it may know of a join that this worker has yet to hear of.
      urgent = true;
    } else {
      pushed = group.memberSet;
      for (const member of group.members) {
        if (member !== session.user && !host.router.pushTo(message, member, false)) urgent = true;
      }
    }
  }
  session.sent.stamped(key, message.mid);
  // Another node may hold its first attempt still and store that: what this session stamps next must
  // sort after it, whichever of the two is stored.
  const outcome = draft.at === undefined ? undefined : session.frames.whenFinished(session.seq);
  host.submit(session, message, req, urgent, pushed, cost);
  return outcome;
}

function stamp({ at, seen = "" }: Draft, prev: string, host: Host): string {
  if (at === undefined) return host.hlc.next();
  const now = host.clock.now();
  // A `seen` of the future would push everything after it there.
  const known = seen === "" || host.hlc.believes(seen);
  if (now - at > MAX_RESENT_MS || !known) return host.hlc.next();
  // The clock of the node that had it first may be ahead of ours.
  return host.hlc.resent(Math.min(at, now), prev, seen);
}

/**
 * After a chat was put off (TRY_LATER), later ones are too until it comes again: the order in which
 * a client sends is the order in which its messages are stored (G3).
 */
function checkOrder(session: Session, draft: Draft, host: Host): void {
  const { refused } = session.sent;
  if (refused === undefined) return;
  if (draft.cid !== refused.cid && session.v === 2) {
    // However late, it may have been sent before its client heard of the refusal: this node or the
    // network may have stood still. A client that gave the earlier one up begins anew.
    if (host.clock.now() >= refused.until) {
      host.close(session, "TRY_LATER", "an earlier message was put off and has not come again");
    }
    throw new ChatError("TRY_LATER", "an earlier message was put off: send that again first");
  }
  session.sent.refused = undefined;
  host.remember(session);
}

/**
 * A v1 message's own id: the same when its frame is handled again by a restarted worker, and growing
 * with time, so that the store's index of them grows at one end.
 */
function classicCid(session: Session, host: Host): string {
  return `~${host.settings.nodeId}.${session.conn % WORKER_SPAN}.${session.seq}`;
}

function extraText(rest: Record<string, unknown>): string {
  try {
    return JSON.stringify(rest).toWellFormed();
  } catch (cause) { // nested too deep to be written again
    throw new ChatError("MALFORMED", "nested too deep", { cause });
  }
}

/** Rows of the handler table. */
export const CHAT_REQUESTS: Requests = {
  v1: [
    [MSGID.ONE_CHAT, entry("loggedIn", OneChatV1, oneChatV1)],
    [MSGID.GROUP_CHAT, entry("loggedIn", GroupChatV1, groupChatV1)],
  ],
  v2: [
    [MSGID.ONE_CHAT, entry("loggedIn", OneChatV2, oneChatV2)],
    [MSGID.GROUP_CHAT, entry("loggedIn", GroupChatV2, groupChatV2)],
    [MSGID.RECV_ACK, entry("loggedIn", RecvAck, recvAck)],
    [MSGID.HISTORY, entry("loggedIn", History, history)],
    [MSGID.TYPING, entry("loggedIn", Typing, typing)],
  ],
};
