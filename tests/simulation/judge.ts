/**
 * What must hold once the faults are over: compares the clients' ledger with the database and the
 * nodes' own state. Returns sentences; none means that the schedule passed.
 */

import type { NodeId, UserId } from "../../actors/ports.ts";
import { remoteNodeIndex, remoteWorker } from "../../actors/routing/replica.ts";
import { WORKER_SPAN } from "../../actors/runtime/lane.ts";
import type { Chat, Sight } from "./ledger.ts";
import type { SimNode } from "./node.ts";
import { type Fault, isCalm, type Plan } from "./plan.ts";
import type { Client, World } from "./world.ts";

/** What is not as it will be when everything has arrived; empty: the schedule is over. */
export function unfinished(world: World): string[] {
  return [...unfinishedClients(world), ...unfinishedDeliveries(world), ...wrongPresence(world)];
}

/** Violations of what holds for ever, whatever is still under way. */
export function violations(world: World): string[] {
  return [
    ...world.ledger.defects,
    ...wrongAcks(world),
    ...wrongSights(world),
    ...wrongOrder(world),
    ...wrongHistory(world),
    ...wrongCauses(world),
  ];
}

function* unfinishedClients(world: World): Generator<string> {
  for (const client of world.clients) {
    if (!client.wanted) continue;
    if (!client.online) yield `client ${client.id} is not online`;
    else if (client.unacknowledged > 0) {
      yield `client ${client.id} waits for ${client.unacknowledged} acknowledgements`;
    }
  }
  for (const node of world.running) {
    if (!node.listening) yield `node ${node.id} does not listen`;
    for (const connection of node.pool.connections.values()) {
      if (connection.unfinished > 0) {
        yield `connection ${connection.conn} of ${node.id} has ${connection.unfinished} open frames`;
      }
    }
  }
  if (world.database.inHand.size > 0 || world.database.volatile > 0) yield "the database works";
}

/** Every stored message reaches everyone it was stored for, and no pending row stays. */
function* unfinishedDeliveries(world: World): Generator<string> {
  const { tables } = world.database;
  for (const client of world.clients) {
    if (!client.wanted) continue;
    for (const mid of tables.pendingMids(client.id)) {
      yield `${tables.messages.get(mid)?.msg} (${mid}) is still pending for ${client.id}`;
    }
  }
  for (const [mid, recipients] of tables.recipients) {
    const key = tables.messages.get(mid)?.msg ?? "";
    for (const user of recipients) {
      const client = world.clientOf(user);
      // A row of somebody who is away waits, and is told from a lost one.
      if (client === undefined || tables.pendingMids(user).has(mid)) continue;
      if (!world.has(client, key)) yield `${key} (${mid}) never reached ${user}`;
    }
  }
}

/** Every node, every worker and the bus agree on who is where, and that is true (G5). */
function* wrongPresence(world: World): Generator<string> {
  const truth = new Map<UserId, { node: SimNode; conn: number }>();
  for (const node of world.running) {
    for (const connection of node.pool.connections.values()) {
      const client = connection.user === 0 ? undefined : world.clientOf(connection.user);
      if (client === undefined) continue;
      if (client.wire === undefined || client.wire.conn !== connection.conn) {
        yield `${node.id} has a dead connection ${connection.conn} of ${client.id}`;
      } else truth.set(client.id, { node, conn: connection.conn });
    }
  }
  for (const client of world.clients) {
    const location = truth.get(client.id);
    if (client.online && location === undefined) yield `no node has ${client.id}`;
    for (const node of world.running) yield* wrongAtNode(client, location, node);
    if (!world.plan.hub) continue;
    const found = world.hub.online.get(client.id);
    const entry = found === undefined || world.hub.isVoid(found) ? undefined : found;
    // A claim that the bus did not answer in time, or that a node that came back has undone, may
    // never be entered: the registries have it.
    if (entry === undefined && disturbsBus(world.plan)) continue;
    if (entry?.node !== location?.node.id || entry?.conn !== location?.conn) {
      yield `the bus has ${client.id} at ${entry?.node}:${entry?.conn}`;
    }
  }
  for (const client of world.clients) {
    if (client.version !== 2 || !client.online) continue;
    for (const [user, online] of client.presence) {
      if (online !== truth.has(user)) yield `client ${client.id} believes ${user} is ${online}`;
    }
  }
}

const DISTURBS_BUS: ReadonlySet<Fault["kind"]> = new Set(["bus cut", "bus slow", "pause"]);

function disturbsBus({ faults, freezes }: Plan): boolean {
  return freezes.length > 0 || faults.some(({ fault }) => DISTURBS_BUS.has(fault.kind));
}

function* wrongAtNode(
  client: Client,
  location: { node: SimNode; conn: number } | undefined,
  node: SimNode,
): Generator<string> {
  const { id } = client;
  const expected: NodeId | undefined = location?.node.id;
  const found = node.registry.find(id);
  const at = found === undefined ? undefined : found.node ?? node.id;
  if (at !== expected) yield `the registry of ${node.id} has ${id} at ${at}, not at ${expected}`;
  for (const [index, host] of node.hosts) {
    const code = host.replica.location(id);
    if (location === undefined) {
      if (code !== 0) yield `worker ${index} of ${node.id} has ${id} at ${code}`;
    } else if (location.node === node) {
      if (code !== location.conn) yield `worker ${index} of ${node.id} has ${id} at ${code}`;
    } else {
      const known = code < 0 ? host.replica.nodeId(remoteNodeIndex(code)) : undefined;
      if (known !== expected || remoteWorker(code) !== location.conn % WORKER_SPAN) {
        yield `worker ${index} of ${node.id} has ${id} at ${code} (${known})`;
      }
    }
  }
}

/** G1, G2: acknowledged is stored, once, under the `mid` of the acknowledgement. */
function* wrongAcks({ ledger, database }: World): Generator<string> {
  const { messages } = database.tables;
  const stored = new Map<string, string>();
  for (const m of messages.values()) {
    const other = stored.get(m.msg);
    if (other !== undefined) yield `${m.msg} is stored as ${other} and as ${m.mid}`;
    stored.set(m.msg, m.mid);
    const chat = ledger.chats.get(m.msg);
    if (chat === undefined) yield `${m.msg} is stored and nobody wrote it`;
    else if (chat.refusedErrno !== undefined) yield `${m.msg} was refused for good and is stored`;
  }
  for (const { key, ackedMid } of ledger.chats.values()) {
    if (ackedMid === undefined) continue;
    const mid = stored.get(key);
    if (mid === undefined) yield `${key} was acknowledged and is not stored`;
    else if (mid !== ackedMid) yield `${key} was acknowledged as ${ackedMid}, stored as ${mid}`;
  }
}

/** G2, G8: nobody sees a message twice, one not meant for him, or one that nobody wrote. */
function* wrongSights({ ledger, plan, database }: World): Generator<string> {
  for (const [user, sights] of ledger.seen) {
    const once = new Set<string>();
    const v1 = plan.clients[user - 1]?.version === 1;
    for (const { key } of sights) {
      // A v1 client cannot tell repeats, and a lost connection may have to repeat.
      if (once.has(key) && !v1) yield `${user} saw ${key} twice`;
      once.add(key);
      const chat = ledger.chats.get(key);
      if (chat === undefined) yield `${user} saw ${key}, which nobody wrote`;
      else if (chat.groupid === 0 ? chat.toid !== user : chat.from === user) {
        yield `${user} saw ${key}, which was not for him`;
      }
    }
  }
  const overloaded = plan.maxQueued < 100; // what is put off is pushed again under a new mid
  if (!isCalm(plan) || overloaded) return;
  for (const [user, sights] of ledger.seen) {
    if (new Set(sights.map((sight) => sight.key)).size < sights.length) {
      yield `${user} saw a message twice although nothing went wrong`;
    }
  }
  for (const message of database.tables.messages.values()) {
    if (message.cid === "") yield `${message.msg} has no cid`;
  }
}

/**
 * G3: one sender's messages to one conversation are first seen in the order of sending. Not judged:
 * a group while somebody joins it, as a sender's retry may be allowed what was refused before, and a
 * recipient may be pushed what was not stored for him.
 */
function* wrongOrder({ ledger, plan }: World): Generator<string> {
  if (hasMisleadingClock(plan)) return;
  const joined = new Set(plan.joins.map((join) => join.groupid));
  for (const [user, sights] of ledger.seen) {
    const last = new Map<string, Chat>();
    const once = new Set<string>();
    for (const { key } of sights) {
      const chat = ledger.chats.get(key);
      if (chat === undefined || once.has(key) || joined.has(chat.groupid)) continue;
      once.add(key);
      const line = `${chat.from} ${chat.groupid}`;
      const before = last.get(line);
      if (before !== undefined && before.n > chat.n) yield `${user} saw ${key} after ${before.key}`;
      else last.set(line, chat);
    }
  }
}

/** G3: what one sender wrote to one conversation is stored in the order of sending. */
function* wrongHistory({ ledger, plan, database }: World): Generator<string> {
  if (hasMisleadingClock(plan)) return;
  const joined = new Set(plan.joins.map((join) => join.groupid));
  const last = new Map<string, Chat>();
  const messages = [...database.tables.messages.values()];
  for (const { mid, msg } of messages.toSorted((a, b) => a.mid < b.mid ? -1 : 1)) {
    const chat = ledger.chats.get(msg);
    if (chat === undefined || joined.has(chat.groupid)) continue;
    const line = `${chat.from} ${chat.toid} ${chat.groupid}`;
    const before = last.get(line);
    if (before !== undefined && before.n > chat.n) {
      yield `${msg} (${mid}) is stored after ${before.key} (${before.ackedMid})`;
    } else last.set(line, chat);
  }
}

/**
 * G3: a reply sorts after what it replies to, as its sender saw it. Not judged: what is stored under
 * a later `mid` than it was first pushed with, because its sender had to repeat it.
 */
function* wrongCauses({ ledger, database }: World): Generator<string> {
  const { messages } = database.tables;
  for (const message of messages.values()) {
    const cause = ledger.chats.get(message.msg)?.cause;
    if (cause === undefined || !messages.has(cause.mid)) continue;
    if (message.mid <= cause.mid) {
      yield `${message.msg} (${message.mid}) sorts before its cause ${cause.key} (${cause.mid})`;
    }
  }
}

/**
 * Whether a node's clock is put back and a node is stopped: order is not judged then. A client tells
 * when it first sent by the clock that it was told at its login. If that clock is put back, what it
 * repeats elsewhere may sort after those of its first attempts that the stopped node stores yet.
 */
function hasMisleadingClock({ faults, freezes }: Plan): boolean {
  const isPutBack = faults.some(({ fault }) => fault.kind === "clock step" && fault.ms < 0);
  const isStopped = freezes.length > 0 || faults.some(({ fault }) => fault.kind === "pause");
  return isPutBack && isStopped;
}

/** How many messages were seen in all. */
export function countSights(sights: ReadonlyMap<UserId, readonly Sight[]>): number {
  let count = 0;
  for (const list of sights.values()) count += list.length;
  return count;
}
