/**
 * Messages in SQLite: the group commit into the log, and reads that see what is filed and what is not.
 *
 * The commit is the hot path: one row with the messages' bytes as they came. Whether a message may be
 * stored is told by what is remembered of users, groups and mailboxes, and whether it is new by the
 * messages that are not filed and a filter over those that are.
 */

import type { DatabaseSync } from "node:sqlite";
import type {
  Append,
  AppendOutcome,
  Backlog,
  GroupId,
  HistoryPage,
  Message,
  MessageTrace,
  Mid,
  Receipt,
  UserId,
} from "../../ports.ts";
import { packMessages, readBlock, RecordedMessage } from "../../record.ts";
import { NO_SUCH_TARGET, NOT_PERMITTED, receivedHere } from "../batch.ts";
import { firstIdNear, firstIdOf, midOf, SPAN, tailOf, timeOf } from "../message_id.ts";
import { int, peerOf, type Row, str } from "../rows.ts";
import { type CidHash, cidHash } from "./cid_filter.ts";
import { SqliteConversations } from "./conversations.ts";
import { SqliteCrowds } from "./crowds.ts";
import { admit, type FilingPace, isCrowd, SqliteFiling } from "./filing.ts";
import { SqliteMailboxes } from "./mailboxes.ts";
import type { SqlitePeople } from "./people.ts";
import { type Transaction, unflushedOn } from "./transaction.ts";
import { Unfiled, UnfiledMessages } from "./unfiled.ts";

// Text with a NUL is cut when read as text (node:sqlite), so free text is read as bytes.
const MESSAGE = `m.id, m.mid, CAST(m.cid AS BLOB) AS cid, m.sender, u.name, m.ts, c.lowid, c.highid,
  c.groupid, CAST(m.msg AS BLOB) AS msg, CAST(m.extra AS BLOB) AS extra`;
const WHOSE = "JOIN conversation c ON c.id = m.conv JOIN user u ON u.id = m.sender";
/** Rows that are read beyond a page's length, for the rest of a millisecond. */
const SPARE_ROWS = 16;
/**
 * Messages of a conversation that are looked through for the last one of somebody (2 ms). Who has not
 * written for longer is taken for somebody who never did: nobody waits for what is so old.
 */
const LOOKED_THROUGH = 20_000;

/** What was stored under a sender's cid before. */
interface First {
  readonly mid: Mid;
  readonly ts: number;
  readonly entry: Unfiled | undefined;
  /** 0 while it is not filed. */
  readonly id: number;
}

export class SqliteMessages {
  readonly #people: SqlitePeople;
  readonly #transaction: Transaction;
  readonly #unfiled = new UnfiledMessages();
  readonly #conversations: SqliteConversations;
  readonly #mailboxes: SqliteMailboxes;
  readonly #crowds: SqliteCrowds;
  readonly #filing: SqliteFiling;
  readonly #sql;
  #records = new Uint8Array(64 * 1_024);

  constructor(
    db: DatabaseSync,
    people: SqlitePeople,
    transaction: Transaction,
    maxPending: number,
    pace?: FilingPace,
  ) {
    this.#people = people;
    this.#transaction = transaction;
    this.#conversations = new SqliteConversations(db);
    this.#mailboxes = new SqliteMailboxes(db, maxPending, this.#unfiled);
    this.#crowds = new SqliteCrowds(db);
    this.#filing = new SqliteFiling({
      db,
      transaction,
      unflushed: unflushedOn(db, transaction),
      people,
      conversations: this.#conversations,
      mailboxes: this.#mailboxes,
      crowds: this.#crowds,
      unfiled: this.#unfiled,
    }, pace);
    this.#sql = prepare(db);
  }

  /** Files what an earlier process has left; before anything else. */
  recover(): void {
    this.#people.refresh(); // nothing is remembered: the first commit need not forget anything
    this.#filing.recover();
  }

  backlog(): Backlog {
    const { size, bytes } = this.#unfiled;
    const messages = Math.max(size, this.#filing.hasRows ? 1 : 0);
    return { messages, bytes, hasChores: this.#filing.hasChores };
  }

  file(ms: number): void {
    this.#filing.file(ms);
  }

  fileAll(): void {
    this.#filing.fileAll();
  }

  commit(appends: readonly Append[], receipts: readonly Receipt[]): AppendOutcome[] {
    if (appends.length === 0 && receipts.length === 0) return [];
    const added: Unfiled[] = [];
    let logged: (() => void) | undefined;
    let outcomes: AppendOutcome[];
    try {
      outcomes = this.#transaction(() => {
        if (this.#people.refresh()) this.#forget();
        const received = receivedHere(appends, receipts);
        const pairs: number[] = [];
        const outcomes = appends.map((append) =>
          this.#append(append, received?.get(append.message.mid), added, pairs)
        );
        for (const { user, mid } of receipts) this.#receive(user, mid, pairs);
        this.#crowds.flush();
        if (added.length > 0 || pairs.length > 0) {
          logged = this.#filing.log(this.#gather(added), added.length, pairs);
        }
        return outcomes;
      });
    } catch (error) {
      for (const entry of added) this.#release(entry);
      this.#unfiled.takeBack(added.length);
      this.#mailboxes.forget();
      this.#crowds.forget();
      throw error;
    }
    logged?.();
    return outcomes;
  }

  /** Another process has written. */
  #forget(): void {
    this.#mailboxes.forget();
    this.#crowds.forget();
    this.#conversations.forget();
    this.#filing.forget();
  }

  /** Nobody waits for a message that was not committed. */
  #release(entry: Unfiled): void {
    if (isCrowd(entry)) return;
    const { from, groupid } = entry.message;
    for (const user of entry.waiting()) this.#mailboxes.received(user, groupid === 0 ? from : 0);
  }

  /** The bytes of messages, as they came: most lie in one block, one after the other. */
  #gather(entries: readonly Unfiled[]): Uint8Array {
    let used = 0;
    for (let i = 0; i < entries.length;) {
      const message = entries[i++]?.message;
      if (message === undefined) continue;
      let end = message.end;
      for (let next = entries[i]?.message; next !== undefined; next = entries[++i]?.message) {
        if (next.block !== message.block || next.start !== end) break;
        end = next.end;
      }
      const length = end - message.start;
      if (used + length > this.#records.length) {
        const larger = new Uint8Array(2 * (used + length));
        larger.set(this.#records.subarray(0, used));
        this.#records = larger;
      }
      this.#records.set(message.block.subarray(message.start, end), used);
      used += length;
    }
    return this.#records.subarray(0, used);
  }

  /** @param received Recipients with a receipt in the same batch. */
  #append(
    { message, confirmed }: Append,
    received: readonly UserId[] | undefined,
    added: Unfiled[],
    pairs: number[],
  ): AppendOutcome {
    const { mid, cid, from, toid, groupid } = message;
    const hash = cidHash(from, cid);
    const first = this.#first(from, cid, hash);
    if (first !== undefined) {
      if (first.mid !== mid) return { status: "duplicate", mid: first.mid, ts: first.ts };
      for (const user of confirmed) this.#receive(user, mid, pairs);
      for (const user of received ?? []) this.#receive(user, mid, pairs);
      return { status: "stored", pending: this.#waitingFor(first, message) };
    }
    const members = groupid === 0 ? undefined : this.#people.membersOf(groupid);
    const isReceived = groupid === 0 &&
      (confirmed.includes(toid) || (received?.includes(toid) ?? false));
    const refusal = this.#refusal(message, members, isReceived);
    if (refusal !== undefined) return refusal;
    if (this.#unfiled.ofMid(mid) !== undefined) {
      throw new Error(`mid ${mid} was given to two messages`);
    }
    const n = this.#filing.next + added.length;
    const entry = new Unfiled(recorded(message), hash, n, members);
    for (const user of confirmed) if (entry.received(user)) pairs.push(n, user);
    if (received !== undefined) {
      for (const user of received) if (entry.received(user)) pairs.push(n, user);
    }
    this.#unfiled.add(entry);
    added.push(entry);
    return { status: "stored", pending: admit(entry, this.#mailboxes) };
  }

  #first(from: UserId, cid: string, hash: CidHash): First | undefined {
    const entry = this.#unfiled.ofCid(from, cid, hash);
    if (entry !== undefined) {
      const { mid, ts } = entry.message;
      return { mid, ts, entry, id: 0 };
    }
    if (!this.#filing.filter.mayHave(hash)) return undefined;
    const row = this.#sql.byCid.get(cid, from);
    if (row === undefined) return undefined;
    const id = int(row, "id");
    return { mid: midOf(id, str(row, "mid")), ts: timeOf(id) + int(row, "ts"), entry, id };
  }

  /** Which of a message's recipients have yet to receive it, as it was stored before. */
  #waitingFor({ entry, id }: First, { from, toid, groupid }: Message): UserId[] {
    const waiting = entry === undefined ? this.#usersOf(id) : entry.waiting();
    const members = groupid === 0 ? undefined : this.#people.membersOf(groupid);
    return waiting.filter((user) =>
      groupid === 0 ? user === toid : user !== from && (members?.has(user) ?? false)
    );
  }

  #usersOf(id: number): UserId[] {
    const own = this.#sql.pendingFor.all({ id }).map((row) => int(row, "userid"));
    return [...own, ...this.#crowds.usersOf(id)];
  }

  #refusal(
    { from, toid, groupid }: Message,
    members: ReadonlySet<UserId> | undefined,
    isReceived: boolean,
  ): AppendOutcome | undefined {
    if (groupid !== 0) {
      if (members === undefined) return NO_SUCH_TARGET;
      return members.has(from) ? undefined : NOT_PERMITTED;
    }
    if (!this.#people.exists(toid)) return NO_SUCH_TARGET;
    if (!this.#people.exists(from)) return NOT_PERMITTED;
    return isReceived ? undefined : this.#mailboxes.refusal(toid, from);
  }

  /** @param pairs Takes what the log has to know. */
  #receive(user: UserId, mid: Mid, pairs: number[]): void {
    const entry = this.#unfiled.ofMid(mid);
    if (entry !== undefined) {
      if (!entry.received(user)) return;
      const { from, groupid } = entry.message;
      if (groupid === 0) this.#mailboxes.received(user, from);
      else if (!isCrowd(entry)) this.#mailboxes.received(user, 0);
      pairs.push(entry.n, user);
      return;
    }
    const id = this.#idOf(mid);
    if (id === undefined) return;
    // Asked for only where it counts: a RETURNING costs every receipt as much again.
    const sender = this.#mailboxes.isDetailed(user) ? this.#senderOf(user, id) : 0;
    if (this.#sql.dropPending.run(user, id).changes === 1) this.#mailboxes.dropped(user, sender);
    else this.#crowds.received(user, id);
  }

  #senderOf(user: UserId, id: number): UserId {
    const row = this.#sql.pendingSender.get(user, id);
    return row === undefined ? 0 : int(row, "sender");
  }

  /** The number of a message that is filed; undefined when there is none such. */
  #idOf(mid: Mid): number | undefined {
    for (let first = firstIdOf(mid);; first += SPAN) {
      const row = this.#sql.byMid.get(first, first + SPAN, tailOf(mid, first), mid);
      if (row !== undefined) return int(row, "id");
      // A millisecond that is full has left some of its messages to the next.
      if (this.#sql.byId.get(first + SPAN - 1) === undefined) return undefined;
    }
  }

  pending(user: UserId, after: Mid, limit: number): Message[] {
    const from = after === "" ? 0 : firstIdOf(after);
    const isWanted = ({ mid }: Message) => mid > after;
    const found = wholeMilliseconds(
      (most) => this.#sql.pending.all(user, from, most).map(filed),
      limit,
      isWanted,
    );
    for (const id of this.#crowds.pending(user, after, limit)) {
      const row = this.#sql.whole.get(id);
      if (row !== undefined) found.push(filed(row).message);
    }
    const { size } = this.#unfiled;
    if (size > 0) {
      found.push(...this.#named((entry) => entry.waitsFor(user) && isWanted(entry.message)));
    }
    return found.sort(byMid).slice(0, limit);
  }

  lastMid(from: UserId, toid: UserId, groupid: GroupId): Mid {
    let last: Mid = "";
    const isMine = ({ message: m }: Unfiled) =>
      m.from === from && m.groupid === groupid && (groupid !== 0 || m.toid === toid);
    for (const { message } of this.#unfiled.select(isMine)) {
      if (message.mid > last) last = message.mid;
    }
    const conv = this.#conversations.find(from, toid, groupid);
    const row = conv === 0 ? undefined : this.#sql.last.get(conv, LOOKED_THROUGH, from);
    if (row === undefined) return last;
    const first = firstIdNear(int(row, "id"));
    for (const each of this.#sql.lastMids.all(conv, first, first + SPAN, from)) {
      const mid = midOf(int(each, "id"), str(each, "mid"));
      if (mid > last) last = mid;
    }
    return last;
  }

  historyWith(user: UserId, peer: UserId, before: Mid, limit: number): HistoryPage {
    const conv = this.#conversations.find(user, peer, 0);
    return this.#page(
      conv,
      before,
      limit,
      ({ from, toid, groupid }) =>
        groupid === 0 && (from === user ? toid === peer : from === peer && toid === user),
    );
  }

  historyOf(user: UserId, groupid: GroupId, before: Mid, limit: number): HistoryPage | undefined {
    if (this.#sql.isMember.get(groupid, user) === undefined) return undefined;
    const conv = this.#conversations.find(0, 0, groupid);
    return this.#page(conv, before, limit, (message) => message.groupid === groupid);
  }

  #page(
    conv: number,
    before: Mid,
    limit: number,
    isOfIt: (message: Message) => boolean,
  ): HistoryPage {
    const isWanted = ({ mid }: Message) => before === "" || mid < before;
    const end = before === "" ? Number.MAX_SAFE_INTEGER : firstIdOf(before) + SPAN;
    const found = conv === 0 ? [] : wholeMilliseconds(
      (most) => this.#sql.history.all(conv, end, most).map(filed),
      limit + 1,
      isWanted,
    );
    if (this.#unfiled.size > 0) {
      found.push(...this.#named(({ message }) => isOfIt(message) && isWanted(message)));
    }
    found.sort(byMid);
    return { messages: found.slice(-limit), more: found.length > limit };
  }

  /** Messages that are not filed, as they would be read if they were. */
  #named(want: (entry: Unfiled) => boolean): Message[] {
    return this.#unfiled.select(want).map(({ message }) => this.#whole(message));
  }

  #whole({ mid, cid, from, ts, toid, groupid, msg, extra }: Message): Message {
    const row = this.#sql.nameOf.get(from);
    const name = row === undefined ? "" : str(row, "name");
    return { mid, cid, from, name, ts, toid, groupid, msg, extra, prev: "" };
  }

  trace(mid: Mid): MessageTrace | undefined {
    const entry = this.#unfiled.ofMid(mid);
    if (entry !== undefined) {
      return { message: this.#whole(entry.message), pending: entry.waiting() };
    }
    const id = this.#idOf(mid);
    const row = id === undefined ? undefined : this.#sql.whole.get(id);
    if (id === undefined || row === undefined) return undefined;
    return { message: filed(row).message, pending: this.#usersOf(id) };
  }

  waiting(user: UserId): number {
    const row = this.#sql.waiting.get(user);
    const own = row === undefined ? 0 : int(row, "count");
    return own + this.#crowds.pending(user, "", Number.MAX_SAFE_INTEGER).length +
      this.#unfiled.select((entry) => entry.waitsFor(user)).length;
  }

  /** Before somebody joins a group: what was sent there without him is filed without him. */
  fileGroup(group: GroupId): void {
    if (this.#unfiled.select(({ message }) => message.groupid === group).length > 0) this.fileAll();
  }

  /** Files what is older than `before`, with all that was committed earlier. */
  fileBefore(before: Mid): void {
    if (this.#unfiled.select(({ message }) => message.mid < before).length > 0) this.fileAll();
  }

  /** Messages have been removed that large groups' rows may have been of. */
  pruned(): void {
    this.#crowds.forget();
  }

  /** What waited for somebody has been removed. */
  mailboxGone(): void {
    this.#mailboxes.forget();
  }
}

function recorded(message: Message): RecordedMessage {
  if (message instanceof RecordedMessage) return message;
  const [made] = readBlock(packMessages([message]).records);
  if (made === undefined) throw new Error("a record without a message");
  return made;
}

const byMid = (a: Message, b: Message) => a.mid < b.mid ? -1 : 1;

interface Filed {
  readonly id: number;
  readonly message: Message;
}

/** A message from the columns of MESSAGE. */
function filed(row: Row): Filed {
  const id = int(row, "id");
  const [from, groupid] = [int(row, "sender"), int(row, "groupid")];
  return {
    id,
    message: {
      mid: midOf(id, str(row, "mid")),
      cid: str(row, "cid"),
      from,
      name: str(row, "name"),
      ts: timeOf(id) + int(row, "ts"),
      toid: groupid === 0 ? peerOf(row, from) : 0,
      groupid,
      msg: str(row, "msg"),
      extra: str(row, "extra"),
      prev: "",
    },
  };
}

/**
 * The first messages of an order by id, at least `limit` that are wanted unless there are fewer, and
 * of no millisecond a part: within one, ids are in no order.
 * @param read So many of the first rows.
 */
function wholeMilliseconds(
  read: (most: number) => readonly Filed[],
  limit: number,
  isWanted: (message: Message) => boolean,
): Message[] {
  for (let most = limit + SPARE_ROWS;; most *= 2) {
    const rows = read(most);
    const last = rows.at(-1);
    const isAll = last === undefined || rows.length < most;
    const wanted: Message[] = [];
    for (const { id, message } of rows) {
      const isCut = !isAll && firstIdNear(id) === firstIdNear(last.id);
      if (!isCut && isWanted(message)) wanted.push(message);
    }
    if (isAll || wanted.length >= limit) return wanted;
  }
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    byCid: sql("SELECT id, mid, ts FROM message WHERE cid = ? AND sender = ?"),
    byMid: sql("SELECT id FROM message WHERE id >= ? AND id < ? AND mid IN (?, ?)"),
    byId: sql("SELECT 1 FROM message WHERE id = ?"),
    dropPending: sql("DELETE FROM offlinemessage WHERE userid = ? AND message = ?"),
    pendingSender: sql("SELECT sender FROM offlinemessage WHERE userid = ? AND message = ?"),
    // By recipient: pending rows have no index by message.
    pendingFor: sql(
      `SELECT o.userid FROM message m JOIN conversation c ON c.id = m.conv
         JOIN offlinemessage o ON o.message = m.id AND o.userid IN (c.lowid, c.highid)
         WHERE m.id = :id
       UNION SELECT o.userid FROM message m JOIN conversation c ON c.id = m.conv
         JOIN groupuser g ON g.groupid = c.groupid
         JOIN offlinemessage o ON o.userid = g.userid AND o.message = m.id WHERE m.id = :id`,
    ),
    waiting: sql("SELECT COUNT(*) AS count FROM offlinemessage WHERE userid = ?"),
    whole: sql(`SELECT ${MESSAGE} FROM message m ${WHOSE} WHERE m.id = ?`),
    pending: sql(
      `SELECT ${MESSAGE} FROM offlinemessage o CROSS JOIN message m ON m.id = o.message ${WHOSE}
      WHERE o.userid = ? AND o.message >= ? ORDER BY o.message LIMIT ?`,
    ),
    last: sql(
      `SELECT id FROM (SELECT id, sender FROM message INDEXED BY message_conv
      WHERE conv = ? ORDER BY id DESC LIMIT ?) WHERE sender = ? LIMIT 1`,
    ),
    lastMids: sql(
      `SELECT id, mid FROM message INDEXED BY message_conv
      WHERE conv = ? AND id >= ? AND id < ? AND sender = ?`,
    ),
    nameOf: sql("SELECT name FROM user WHERE id = ?"),
    isMember: sql("SELECT 1 FROM groupuser WHERE groupid = ? AND userid = ?"),
    history: sql(
      `SELECT ${MESSAGE} FROM message m INDEXED BY message_conv ${WHOSE}
      WHERE m.conv = ? AND m.id < ? ORDER BY m.id DESC LIMIT ?`,
    ),
  };
}
