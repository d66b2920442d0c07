/**
 * The attacks by name: what a stranger, or somebody with an account, may try against the others. Each
 * runs until its time is over and ends by itself. They run in a worker of their own (attack_worker.ts),
 * beside the innocent.
 */

import { MSGID } from "@chat/wire/messages.ts";
import type { Rng } from "../chaos/rng.ts";
import { RawPeer } from "../support/raw_peer.ts";

/** Where an attack goes, and what was made for it. */
export interface Target {
  readonly port: number;
  /** Of the other node, in a cluster; the same node otherwise. */
  readonly farPort: number;
  readonly httpPort: number;
  /** Epoch ms at which it is over. */
  readonly until: number;
  readonly rng: Rng;
  readonly password: string;
  /** Users that belong to the attacker; all are members of `crowd`, the first of all `groups`. */
  readonly users: readonly number[];
  /** A group of all `users`. */
  readonly crowd: number;
  readonly groups: readonly number[];
  /** Users whose accounts are attacked. */
  readonly victims: {
    readonly loggingIn: number;
    readonly offline: number;
    readonly online: number;
  };
}

/** One attack. */
export interface Attack {
  /** What it does, in one sentence. */
  readonly about: string;
  /** Left out of the short form, which runs with the tests. */
  readonly isLong?: true;
  run(target: Target): Promise<void>;
}

/** Wait before a connection that was refused or closed is opened again, ms. */
const REOPEN_MS = 50;

/** Addresses of the attacker: a few, or as many as are wanted. */
const addressOf = (n: number) => `198.51.${100 + Math.floor(n / 250) % 100}.${1 + n % 250}`;
const isOver = ({ until }: Target) => Date.now() >= until;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function logIn(target: Target, index: number, port = target.port): Promise<RawPeer> {
  const peer = await RawPeer.open(port, `203.0.113.${1 + index % 40}`);
  const id = target.users[index] ?? 0;
  const login = {
    ...{ msgid: MSGID.LOGIN, v: 2, id, password: target.password },
    want: ["typing", "delivered"],
  };
  const { errno } = await peer.ask(login, MSGID.LOGIN_ACK);
  if (errno !== 0) throw new Error(`the attacker's user ${id} is not let in: errno ${errno}`);
  return peer;
}

/** Many at a time, a few of them at once. */
async function each<T>(
  count: number,
  atOnce: number,
  make: (n: number) => Promise<T>,
): Promise<T[]> {
  const made: T[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < count) made.push(await make(next++));
  }));
  return made;
}

/** Members of the crowd who are there, on the other node where there is one, and confirm nothing. */
const there = (target: Target) => each(150, 10, (n) => logIn(target, 1 + n, target.farPort));

/**
 * Sends the same kind of object again and again, many in one write, over `count` connections; one that
 * the server closes is opened again.
 */
async function flood(
  target: Target,
  count: number,
  open: (n: number) => Promise<RawPeer>,
  make: (n: number) => object,
  atOnce = 100,
): Promise<void> {
  let n = 0;
  const peers = new Set<RawPeer>();
  // A server that reads no more holds a write up.
  const timer = setTimeout(() => peers.forEach((peer) => peer.close()), target.until - Date.now());
  const one = async (index: number) => {
    while (!isOver(target)) {
      let peer: RawPeer;
      try {
        peer = await open(index);
      } catch { // refused, as it should be after a while
        await pause(REOPEN_MS);
        continue;
      }
      peers.add(peer);
      while (!isOver(target) && !peer.ended) {
        let text = "";
        for (let i = 0; i < atOnce; i++) text += `${JSON.stringify(make(n++))}\n`;
        await peer.write(text);
        await pause(1);
      }
      peers.delete(peer);
      peer.close();
    }
  };
  await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
  clearTimeout(timer);
}

/** Connections again and again, each used in some way. */
async function again(
  target: Target,
  atOnce: number,
  use: (n: number) => Promise<RawPeer | undefined>,
): Promise<void> {
  let n = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (!isOver(target)) {
      try {
        (await use(n++))?.close();
      } catch { // refused: as it should be
        await pause(20);
      }
    }
  }));
}

const chatTo = (toid: number, n: number) => ({
  msgid: MSGID.ONE_CHAT,
  toid,
  cid: `a${n}`,
  msg: "x",
});
const chatIn = (groupid: number, n: number) => ({
  msgid: MSGID.GROUP_CHAT,
  groupid,
  cid: `g${n}-${Date.now()}`,
  msg: "x",
});

/** Every attack. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  "group-offline": {
    about: "members write to a large group of people who are away",
    run: (t) => flood(t, 3, (n) => logIn(t, n), (n) => chatIn(t.crowd, n)),
  },
  "group-again": {
    isLong: true,
    about: "members send the same messages to a large group again and again, as a client may",
    run: (t) =>
      flood(t, 3, (n) => logIn(t, n), (n) => ({
        msgid: MSGID.GROUP_CHAT,
        groupid: t.crowd,
        cid: `again ${n % 400}`,
        msg: "x",
        at: Date.now(),
      })),
  },
  "group-online": {
    about: "a member writes to a group of people who are there and confirm nothing",
    async run(t) {
      const members = await there(t);
      await flood(t, 1, () => logIn(t, 0), (n) => chatIn(t.crowd, n));
      for (const member of members) member.close();
    },
  },
  "typing": {
    isLong: true,
    about: "a member types to a large group all the time",
    async run(t) {
      const members = await there(t);
      await flood(t, 1, () => logIn(t, 0), () => ({ msgid: MSGID.TYPING, groupid: t.crowd }));
      for (const member of members) member.close();
    },
  },
  "resume": {
    isLong: true,
    about: "a user of many groups resumes and hangs up before the answer",
    async run(t) {
      const first = await RawPeer.open(t.port, addressOf(0));
      const login = { msgid: MSGID.LOGIN, v: 2, id: t.users[0], password: t.password };
      const { token } = await first.ask(login, MSGID.LOGIN_ACK);
      await again(t, 8, async () => {
        const peer = await RawPeer.open(t.port, addressOf(0));
        await peer.send({ msgid: MSGID.RESUME, v: 2, token });
        await pause(t.rng.int(0, 60));
        return peer;
      });
      first.close();
    },
  },
  "join": {
    isLong: true,
    about: "members join the same groups again and again",
    run: (t) =>
      flood(t, 4, (n) => logIn(t, n), (n) => ({
        msgid: MSGID.JOIN_GROUP,
        groupid: t.groups[n % t.groups.length],
        req: n,
      })),
  },
  "big-frames": {
    about: "strangers send large requests, more than can be done",
    async run(t) {
      const pad = "y".repeat(60_000);
      const login = { msgid: MSGID.LOGIN, v: 2, name: "nobody", password: "x", pad };
      await flood(t, 40, () => RawPeer.open(t.port, addressOf(0)), () => login, 4);
    },
  },
  "silent": {
    about: "silent connections and half frames from a few addresses take the places of newcomers",
    async run(t) {
      const peers: RawPeer[] = [];
      while (!isOver(t)) {
        const peer = await RawPeer.open(t.port, addressOf(peers.length % 5), false);
        if (peers.length % 2 === 0) await peer.write('{"msgid":1,"v":2,"name":"');
        peers.push(peer);
        await pause(1);
        if (peers.length > 4_000) peers.shift()?.close();
      }
      for (const peer of peers) peer.close();
    },
  },
  "lockout": {
    about: "wrong guesses at somebody's password, from many addresses",
    run: (t) =>
      again(t, 4, async (n) => {
        const peer = await RawPeer.open(t.port, addressOf(t.rng.int(0, 200)));
        const guess = { msgid: MSGID.LOGIN, v: 2, id: t.victims.loggingIn, password: `no${n}` };
        await peer.ask(guess, MSGID.LOGIN_ACK);
        return peer;
      }),
  },
  "passwords": {
    about: "log-ins of nobody, as many as there can be, from ten addresses",
    run: (t) =>
      flood(
        t,
        20,
        (n) => RawPeer.open(t.port, addressOf(n % 10)),
        (n) => ({ msgid: MSGID.LOGIN, v: 2, name: `nobody ${n}`, password: "x" }),
        10,
      ),
  },
  "register": {
    isLong: true,
    about: "accounts are made as fast as can be",
    run: (t) =>
      flood(
        t,
        10,
        (n) => RawPeer.open(t.port, addressOf(n)),
        (n) => ({ msgid: MSGID.REGISTER, v: 2, name: `sybil ${n} ${Date.now()}`, password: "x" }),
        10,
      ),
  },
  "mailbox": {
    about: "a stranger fills the mailbox of somebody who is away",
    run: (t) => flood(t, 1, () => logIn(t, 0), (n) => chatTo(t.victims.offline, n)),
  },
  "spam": {
    about: "strangers write to somebody who is there, at full speed",
    run: (t) => flood(t, 3, (n) => logIn(t, n), (n) => chatTo(t.victims.online, n)),
  },
  "long-texts": {
    isLong: true,
    about: "a user writes texts of the greatest length to himself",
    async run(t) {
      const msg = "z".repeat(16_000);
      const toid = t.users[0] ?? 0;
      await flood(t, 1, () => logIn(t, 0), (n) => ({ ...chatTo(toid, n), msg }), 8);
    },
  },
  "history": {
    isLong: true,
    about: "the longest pages of history are asked for all the time",
    run: (t) =>
      flood(t, 3, (n) => logIn(t, n), (n) => ({
        msgid: MSGID.HISTORY,
        groupid: t.crowd,
        limit: 200,
        req: n,
      }), 20),
  },
  "receipts": {
    about: "receipts for what never was",
    async run(t) {
      const mids = Array.from({ length: 200 }, () => `01${"ABCDEFGH".repeat(3)}`);
      await flood(t, 3, (n) => logIn(t, n), () => ({
        msgid: MSGID.RECV_ACK,
        mids: mids.map((mid) => mid.slice(0, 22) + t.rng.int(1_000, 9_999)),
      }), 10);
    },
  },
  "never-reads": {
    isLong: true,
    about: "questions whose answers are not read",
    async run(t) {
      const open = async (n: number) => {
        const peer = await RawPeer.open(t.port, addressOf(n), false);
        await peer.send({ msgid: MSGID.LOGIN, v: 2, id: t.users[n], password: t.password });
        return peer;
      };
      await flood(t, 20, open, (n) => ({
        msgid: MSGID.HISTORY,
        groupid: t.crowd,
        limit: 200,
        req: n,
      }), 10);
    },
  },
  "reconnect": {
    about: "connections opened and closed as fast as can be",
    run: (t) => again(t, 30, (n) => RawPeer.open(t.port, addressOf(n % 3))),
  },
  "garbage": {
    isLong: true,
    about: "what is no JSON, cut anywhere",
    run: (t) =>
      again(t, 10, async (n) => {
        const peer = await RawPeer.open(t.port, addressOf(n % 10));
        const depth = t.rng.int(1, 20_000);
        const texts = [
          "{".repeat(depth),
          "[[[[",
          `{"msgid":${"9".repeat(depth)}}`,
          "{]\0\0{}",
          "}",
        ];
        await peer.write(t.rng.pick(texts));
        await pause(5);
        return peer;
      }),
  },
  "http": {
    isLong: true,
    about: "the port of health and metrics, by more connections than files may be open",
    async run(t) {
      const open: RawPeer[] = [];
      while (!isOver(t)) {
        try {
          const peer = await RawPeer.open(t.httpPort, undefined, false);
          open.push(peer);
          await peer.write(open.length % 2 === 0 ? "GET /metrics HTTP/1.1\r\n" : "");
        } catch {
          await pause(20);
        }
        if (open.length > 600) open.shift()?.close();
        await pause(2);
      }
      for (const peer of open) peer.close();
    },
  },
  "ipv6": {
    isLong: true,
    about: "an IPv6 address for each connection and each guess, all of one network",
    run: (t) =>
      again(t, 10, async (n) => {
        const from = `2001:db8:0:7::${(1 + n % 60_000).toString(16)}`;
        const peer = await RawPeer.open(t.port, from);
        const guess = { msgid: MSGID.LOGIN, v: 2, id: t.victims.loggingIn, password: `no${n}` };
        await peer.ask(guess, MSGID.LOGIN_ACK, MSGID.BYE);
        return peer;
      }),
  },
};
