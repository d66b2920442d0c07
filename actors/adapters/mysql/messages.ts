/**
 * Messages and pending rows in MySQL: the group commit, and what is read back. The connections and
 * the retries are link.ts.
 *
 * Nodes share the database, so a commit trusts its memory only where the database vouches for it:
 * a group's members by the group's version, read under a lock. A user is taken to exist for a minute
 * after he was looked up.
 * That a cid is new is not asked: the unique key says so, and only then the batch is done again
 * with a look first.
 */

import type { Connection } from "mysql2/promise";
import type {
  Append,
  AppendOutcome,
  GroupId,
  HistoryPage,
  Message,
  Mid,
  Receipt,
  UserId,
} from "../../ports.ts";
import { AFTER_ALL_MIDS, NO_SUCH_TARGET, NOT_PERMITTED, receivedHere } from "../batch.ts";
import { MESSAGE, WHOSE } from "./columns.ts";
import { change, type MysqlLink, type Param, rows, serverErrno } from "./link.ts";
import { MultiRow } from "./multi.ts";
import { MysqlMailboxes } from "./mailboxes.ts";
import { CROWD } from "../crowd.ts";
import type { MysqlCrowds } from "./crowds.ts";
import { MysqlConversations } from "./conversations.ts";
import { MysqlKnown } from "./known.ts";
import { DUPLICATE_KEY, isMember } from "./people.ts";
import { int, message, page, str } from "../rows.ts";

/** A batch is done again at most so often because of what other nodes stored meanwhile. */
const MAX_REPEATS = 4;
/** Commits that look for duplicates first after one was met: retries come in swarms. */
const CAREFUL_COMMITS = 16;
/** Text of one INSERT in UTF-16 units: about 3 MiB, below any usual max_allowed_packet. */
const MAX_INSERT_UNITS = 1_024 * 1_024;

const ADD = new MultiRow(
  "INSERT INTO message (mid, conv, sender, cid, ts, msg, extra) VALUES ",
  7,
);
const ADD_PENDING = new MultiRow("INSERT INTO offlinemessage (userid, mid, sender) VALUES ", 3);
/** What a receipt may name. Clients send any text, and JSON_TABLE refuses some of it. */
const MID = /^[\x21-\x7e]{26}$/;
// One array of [userid, mid] pairs, joined in this order: row by row through the primary key. With
// a list of pairs the server scans a small table whole, and waits for rows that other nodes hold.
const DROP_PENDING = `DELETE o FROM JSON_TABLE(?, '$[*]' COLUMNS (
    userid INT UNSIGNED PATH '$[0]', mid VARCHAR(26) PATH '$[1]')) j
  STRAIGHT_JOIN offlinemessage o ON o.userid = j.userid AND o.mid = j.mid`;
const STILL_PENDING = new MultiRow(
  "SELECT userid, mid FROM offlinemessage WHERE (userid, mid) IN (",
  2,
  ")",
);
const BY_CID = new MultiRow(
  "SELECT sender, cid, mid, ts FROM message WHERE (sender, cid) IN (",
  2,
  ")",
);

const BY_MID = new MultiRow(`SELECT ${MESSAGE} FROM message m ${WHOSE} WHERE m.mid IN (`, 1, ")");
const PENDING = `SELECT ${MESSAGE} FROM offlinemessage o STRAIGHT_JOIN message m ON m.mid = o.mid
  ${WHOSE} WHERE o.userid = ? AND o.mid > ? ORDER BY o.mid LIMIT ?`;
/**
 * Messages of a conversation that are looked through for the last one of somebody. Who has not
 * written for longer is taken for somebody who never did: nobody waits for what is so old.
 */
const LOOKED_THROUGH = 20_000;
const LAST = `SELECT mid FROM (SELECT mid, sender FROM message FORCE INDEX (message_conv)
  WHERE conv = ? ORDER BY mid DESC LIMIT ${LOOKED_THROUGH}) l WHERE sender = ?
  ORDER BY mid DESC LIMIT 1`;
// Most have written lately.
const LAST_LATELY = LAST.replace(`${LOOKED_THROUGH}`, "64");
const HISTORY = `SELECT ${MESSAGE} FROM message m FORCE INDEX (message_conv) ${WHOSE}
  WHERE m.conv = ? AND m.mid < ? ORDER BY m.mid DESC LIMIT ?`;

/** A message that the database has already, under this mid. */
type First = AppendOutcome & { status: "duplicate" };

export class MysqlMessages {
  readonly #link: MysqlLink;
  readonly #known = new MysqlKnown();
  readonly #conversations = new MysqlConversations();
  readonly #mailboxes: MysqlMailboxes;
  readonly #crowds: MysqlCrowds;
  #carefulLeft = 0;

  /** @param maxPending Messages that may wait for one user, about; 0: no limit. */
  constructor(link: MysqlLink, maxPending: number, crowds: MysqlCrowds) {
    this.#link = link;
    this.#crowds = crowds;
    this.#mailboxes = new MysqlMailboxes(maxPending);
  }

  /** What is remembered of users and groups may be wrong. */
  forget(): void {
    this.#known.forget();
  }

  async commit(
    appends: readonly Append[],
    receipts: readonly Receipt[],
  ): Promise<AppendOutcome[]> {
    if (appends.length === 0 && receipts.length === 0) return [];
    if (this.#carefulLeft > 0) this.#carefulLeft--;
    return await this.#link.commit(async (connection, again) => {
      const users = await this.#known.learnUsers(connection, appends);
      await this.#conversations.learn(connection, appends, users);
      let isCareful = again || this.#carefulLeft > 0;
      for (let repeats = 0;; repeats++) {
        try {
          const knows = {
            known: this.#known,
            conversations: this.#conversations,
            mailboxes: this.#mailboxes,
            crowds: this.#crowds,
          };
          return await new Commit(connection, knows, isCareful).run(appends, receipts);
        } catch (error) {
          this.#mailboxes.forget();
          if (serverErrno(error) !== DUPLICATE_KEY) throw error;
          if (repeats === MAX_REPEATS) throw error;
          this.#carefulLeft = CAREFUL_COMMITS;
          isCareful = true;
          await connection.query("ROLLBACK");
        }
      }
    });
  }

  async pending(user: UserId, after: Mid, limit: number): Promise<Message[]> {
    return (await this.#link.rows(PENDING, [user, after, `${limit}`])).map(message);
  }

  /** What waits for a user in large groups, by `mid`. */
  async pendingInCrowds(user: UserId, after: Mid, limit: number): Promise<Message[]> {
    const mids = await this.#crowds.pending(this.#link, user, after, limit);
    if (mids.length === 0) return [];
    const first = mids.sort().slice(0, limit);
    const found = await this.#link.session((connection) => BY_MID.rows(connection, first));
    return found.map(message).sort((a, b) => a.mid < b.mid ? -1 : 1);
  }

  lastMid(from: UserId, toid: UserId, groupid: GroupId): Promise<Mid> {
    return this.#link.session(async (connection) => {
      const conv = await this.#conversations.find(connection, from, toid, groupid);
      if (conv === 0) return "";
      const [lately] = await rows(connection, LAST_LATELY, [conv, from]);
      const [row] = lately === undefined ? await rows(connection, LAST, [conv, from]) : [lately];
      return row === undefined ? "" : str(row, "mid");
    });
  }

  historyWith(user: UserId, peer: UserId, before: Mid, limit: number): Promise<HistoryPage> {
    return this.#link.session((connection) =>
      this.#page(connection, [user, peer, 0], before, limit)
    );
  }

  historyOf(
    user: UserId,
    groupid: GroupId,
    before: Mid,
    limit: number,
  ): Promise<HistoryPage | undefined> {
    return this.#link.session(async (connection) => {
      if (!await isMember(connection, groupid, user)) return undefined;
      return await this.#page(connection, [0, 0, groupid], before, limit);
    });
  }

  async #page(
    connection: Connection,
    who: readonly [UserId, UserId, GroupId],
    before: Mid,
    limit: number,
  ): Promise<HistoryPage> {
    const conv = await this.#conversations.find(connection, ...who);
    if (conv === 0) return page([], limit);
    const end = before === "" ? AFTER_ALL_MIDS : before;
    // Text: MySQL refuses a LIMIT that comes as a floating number.
    return page(await rows(connection, HISTORY, [conv, end, `${limit + 1}`]), limit);
  }
}

/** One attempt at one batch; its caller commits. */
class Commit {
  readonly #connection: Connection;
  readonly #known: MysqlKnown;
  readonly #conversations: MysqlConversations;
  readonly #mailboxes: MysqlMailboxes;
  readonly #crowds: MysqlCrowds;
  readonly #isCareful: boolean;
  readonly #messages: Param[] = [];
  #messageUnits = 0;
  readonly #pending: Param[] = [];
  readonly #drops: [UserId, Mid][] = [];
  readonly #crowdMessages: [Mid, GroupId, UserId[]][] = [];
  /** Messages that were stored under their own mid by an earlier attempt, by their place. */
  readonly #own: { at: number; append: Append }[] = [];

  /** @param isCareful Look for every cid first; else only for those of refused messages. */
  constructor(
    connection: Connection,
    { known, conversations, mailboxes, crowds }: {
      readonly known: MysqlKnown;
      readonly conversations: MysqlConversations;
      readonly mailboxes: MysqlMailboxes;
      readonly crowds: MysqlCrowds;
    },
    isCareful: boolean,
  ) {
    this.#connection = connection;
    this.#known = known;
    this.#conversations = conversations;
    this.#mailboxes = mailboxes;
    this.#crowds = crowds;
    this.#isCareful = isCareful;
  }

  async run(appends: readonly Append[], receipts: readonly Receipt[]): Promise<AppendOutcome[]> {
    const members = await this.#known.lockGroups(this.#connection, appends);
    const received = receivedHere(appends, receipts);
    await this.#mailboxes.learn(this.#connection, appends, members);
    const refusals = appends.map((append) =>
      this.#refusal(append.message, members) ??
        this.#noRoom(append, received?.get(append.message.mid))
    );
    const firsts = await this.#firsts(appends, refusals);
    const outcomes: AppendOutcome[] = [];
    for (const [at, append] of appends.entries()) {
      const { message } = append;
      const first = firsts?.get(cidKey(message.from, message.cid));
      const refusal = refusals[at];
      const noRoom = refusal ?? this.#noRoom(append, received?.get(message.mid));
      if (first?.mid === message.mid) {
        this.#own.push({ at, append });
        outcomes.push(first); // replaced below
      } else if (first !== undefined || refusal !== undefined) {
        outcomes.push(first ?? refusal ?? NO_SUCH_TARGET);
      } else if (noRoom !== undefined) {
        outcomes.push(await this.#storedOr(message, firsts, noRoom));
      } else {
        firsts?.set(cidKey(message.from, message.cid), firstOf(message));
        if (this.#messageUnits > MAX_INSERT_UNITS) await this.#writeMessages();
        outcomes.push(this.#add(append, members, received?.get(message.mid)));
      }
    }
    for (const { user, mid } of receipts) {
      if (MID.test(mid)) this.#drops.push([user, mid]);
      this.#mailboxes.received(user);
    }
    await this.#write();
    for (const { at, append } of this.#own) {
      outcomes[at] = await this.#ownOutcome(append, members);
    }
    return outcomes;
  }

  #refusal(
    { from, toid, groupid }: Message,
    members: ReadonlyMap<GroupId, ReadonlySet<UserId>>,
  ): AppendOutcome | undefined {
    if (groupid !== 0) {
      const group = members.get(groupid);
      if (group === undefined || group.size === 0) return NO_SUCH_TARGET;
      // Made since the batch began: nothing is stored without its conversation.
      if (this.#conversations.of(from, toid, groupid) === 0) return NO_SUCH_TARGET;
      return group.has(from) ? undefined : NOT_PERMITTED;
    }
    if (!this.#known.users.has(toid)) return NO_SUCH_TARGET;
    return this.#known.users.has(from) ? undefined : NOT_PERMITTED;
  }

  /** Why a message to one user finds no room. */
  #noRoom(
    { message, confirmed }: Append,
    received: readonly UserId[] | undefined,
  ): AppendOutcome | undefined {
    const { from, toid, groupid } = message;
    if (groupid !== 0 || confirmed.includes(toid) || received?.includes(toid)) return undefined;
    return this.#mailboxes.refusal(toid, from);
  }

  /**
   * A mailbox that this batch has filled, so that nobody asked for this cid: a retry gets the first
   * answer even if it would be refused today.
   */
  async #storedOr(
    message: Message,
    firsts: ReadonlyMap<string, First> | undefined,
    refusal: AppendOutcome,
  ): Promise<AppendOutcome> {
    if (this.#isCareful && firsts !== undefined) return refusal; // asked for, and not there
    const [row] = await BY_CID.rows(this.#connection, [message.from, message.cid]);
    if (row === undefined) return refusal;
    return { status: "duplicate", mid: str(row, "mid"), ts: int(row, "ts") };
  }

  /** What is stored under the cids of the batch; undefined when nobody needs to know. */
  async #firsts(
    appends: readonly Append[],
    refusals: readonly (AppendOutcome | undefined)[],
  ): Promise<Map<string, First> | undefined> {
    const asked: Param[] = [];
    for (const [at, { message }] of appends.entries()) {
      // A retry gets the first answer even if it would be refused today.
      if (this.#isCareful || refusals[at] !== undefined) asked.push(message.from, message.cid);
    }
    if (asked.length === 0) return undefined;
    const firsts = new Map<string, First>();
    for (const row of await BY_CID.rows(this.#connection, asked)) {
      firsts.set(cidKey(int(row, "sender"), str(row, "cid")), {
        status: "duplicate",
        mid: str(row, "mid"),
        ts: int(row, "ts"),
      });
    }
    return firsts;
  }

  #add(
    { message, confirmed }: Append,
    members: ReadonlyMap<GroupId, ReadonlySet<UserId>>,
    received: readonly UserId[] | undefined,
  ): AppendOutcome {
    const { mid, from, cid, toid, groupid, ts, msg, extra } = message;
    this.#messageUnits += msg.length + extra.length;
    const isGroup = groupid !== 0;
    this.#messages.push(
      mid,
      this.#conversations.of(from, toid, groupid),
      from,
      cid,
      ts,
      msg,
      extra,
    );
    const pending: UserId[] = [];
    const crowd = isGroup ? members.get(groupid) : undefined;
    if (crowd !== undefined && crowd.size > CROWD) {
      for (const user of crowd) {
        if (user !== from && !confirmed.includes(user) && !received?.includes(user)) {
          pending.push(user);
        }
      }
      pending.sort((a, b) => a - b);
      if (pending.length > 0) this.#crowdMessages.push([mid, groupid, pending]);
      return { status: "stored", pending };
    }
    for (const user of (isGroup ? members.get(groupid) : undefined) ?? [toid]) {
      if (isGroup && user === from) continue;
      if (confirmed.includes(user) || received?.includes(user)) continue;
      if (isGroup && this.#mailboxes.isFullForGroups(user)) continue;
      const sender = isGroup ? 0 : from;
      this.#mailboxes.added(user, sender);
      this.#pending.push(user, mid, sender);
      pending.push(user);
    }
    return { status: "stored", pending };
  }

  async #write(): Promise<void> {
    await this.#writeMessages();
    await ADD_PENDING.change(this.#connection, this.#pending);
    await this.#crowds.add(this.#connection, this.#crowdMessages);
    await this.#dropPending(this.#drops);
  }

  async #writeMessages(): Promise<void> {
    await ADD.change(this.#connection, this.#messages);
    this.#messages.length = 0;
    this.#messageUnits = 0;
  }

  async #dropPending(pairs: readonly (readonly [UserId, Mid])[]): Promise<void> {
    if (pairs.length === 0) return;
    await change(this.#connection, DROP_PENDING, [JSON.stringify(pairs)]);
    await this.#crowds.received(this.#connection, pairs);
  }

  async #ownOutcome(
    { message, confirmed }: Append,
    members: ReadonlyMap<GroupId, ReadonlySet<UserId>>,
  ): Promise<AppendOutcome> {
    const { mid, from, toid, groupid } = message;
    await this.#dropPending(confirmed.map((user) => [user, mid]));
    const recipients = groupid === 0 ? [toid] : [...members.get(groupid) ?? []];
    const asked = recipients.filter((user) => groupid === 0 || user !== from)
      .flatMap((user) => [user, mid]);
    const found = await STILL_PENDING.rows(this.#connection, asked);
    const crowd = groupid === 0 ? undefined : await this.#crowds.usersOf(this.#connection, [mid]);
    const pending = [...found.map((row) => int(row, "userid")), ...crowd?.get(mid) ?? []];
    return { status: "stored", pending };
  }
}

function cidKey(from: UserId, cid: string): string {
  return `${from} ${cid}`;
}

function firstOf({ mid, ts }: Message): First {
  return { status: "duplicate", mid, ts };
}
