/**
 * The recorded session of original clients and their server, played to ours: the same answers, field
 * for field. Key order, the trailing newline and the wording of `errmsg` may differ.
 */

import { assert, assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { type Received, type TestPeer, TestServer } from "../support/server_harness.ts";

const LOG = new URL("../fixtures/classic-session.log", import.meta.url);

interface Event {
  readonly line: string;
  readonly connection: string;
  readonly what: "open" | "send" | "receive" | "send_end" | "receive_end";
  /** JSON text without the NUL. */
  readonly text: string;
}

/** What stands for the recorded ids: recorded ⇒ ours. Users' are learnt as they register. */
interface Ids {
  readonly users: Map<number, number>;
  readonly groups: ReadonlyMap<number, number>;
}

function readLog(): Event[] {
  return Deno.readTextFileSync(LOG).split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, connection = "", rest = ""] = /^\s*[\d.]+ (\w+) (.*)$/.exec(line) ?? [];
      if (rest === "open") return { line, connection, what: "open", text: "" };
      const [, direction, bytes = ""] = /^(C->S|S->C) (.*)$/.exec(rest) ?? [];
      const end = bytes === "EOF";
      const what = direction === "C->S"
        ? (end ? "send_end" as const : "send" as const)
        : (end ? "receive_end" as const : "receive" as const);
      return { line, connection, what, text: end ? "" : pythonBytes(bytes).replace(/\0$/, "") };
    });
}

/** Text of a Python bytes literal, which holds UTF-8. */
function pythonBytes(literal: string): string {
  const bytes: number[] = [];
  const body = literal.slice(2, -1); // b'…'
  for (let i = 0; i < body.length; i++) {
    if (body[i] !== "\\") bytes.push(body.charCodeAt(i));
    else if (body[i + 1] === "x") {
      bytes.push(parseInt(body.slice(i + 2, i + 4), 16));
      i += 3;
    } else bytes.push(body.charCodeAt(++i));
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
}

/** Lists whose elements are JSON texts. */
const TEXT_LISTS = new Set(["offlinemsg", "friends", "groups", "users"]);

/** Parsed, lists of JSON texts too; `errmsg` kept only as being there. */
function canonical(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => {
      if (TEXT_LISTS.has(key) && Array.isArray(field)) {
        return [
          key,
          field.map((text) => {
            assertEquals(typeof text, "string", `an element of ${key}`);
            return canonical(JSON.parse(String(text)));
          }),
        ];
      }
      if (key === "errmsg") return [key, typeof field === "string" && field !== ""];
      return [key, canonical(field)];
    }),
  );
}

/** Our ids in place of the recorded ones; `id` names a group only in a group's own entry. */
function substitute(value: unknown, ids: Ids): unknown {
  if (Array.isArray(value)) return value.map((each) => substitute(each, ids));
  if (typeof value !== "object" || value === null) return value;
  const isGroup = "groupname" in value && "users" in value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => {
      const isGroupId = key === "groupid" || (key === "id" && isGroup);
      const map = isGroupId
        ? ids.groups
        : ["id", "to", "friendid"].includes(key)
        ? ids.users
        : undefined;
      if (map === undefined || typeof field !== "number") return [key, substitute(field, ids)];
      const ours = map.get(field);
      assert(ours !== undefined, `no id for the recorded ${key} ${field}`);
      return [key, ours];
    }),
  );
}

/** Plays all events; what comes is compared with what was recorded, connection by connection. */
async function replay(server: TestServer, groups: ReadonlyMap<number, number>): Promise<number> {
  const ids: Ids = { users: new Map(), groups };
  const peers = new Map<string, TestPeer>();
  const events = readLog();
  let compared = 0;
  // The log has a push before its sender's bytes where the recipient was recorded first. It is
  // waited for, in order, before its recipient goes.
  const pushes = new Map<string, Event[]>();
  const receive = async (peer: TestPeer, event: Event) => {
    const recorded: Received = JSON.parse(event.text);
    const got = await peer.expect(recorded.msgid);
    if (recorded.msgid === MSGID.REGISTER_ACK && typeof got.id === "number") {
      ids.users.set(Number(recorded.id), got.id);
    }
    assertEquals(canonical(got), substitute(canonical(recorded), ids), event.line);
    compared++;
  };
  const receivePushes = async (peer: TestPeer, connection: string) => {
    for (const push of pushes.get(connection) ?? []) await receive(peer, push);
    pushes.delete(connection);
  };
  try {
    for (const [at, event] of events.entries()) {
      const { connection, what, text } = event;
      if (what === "open") {
        peers.set(connection, await server.connect(1));
        continue;
      }
      const peer = peers.get(connection);
      assert(peer !== undefined, event.line);
      switch (what) {
        case "send": {
          const message = substitute(JSON.parse(text), ids) as Received;
          if (message.msgid === MSGID.LOGOUT) await receivePushes(peer, connection);
          // The order of keys stays: but for ids the bytes are the recorded ones.
          await peer.sendText(`${JSON.stringify(message)}\0`);
          // What has no answer is known to be done when the next question has been answered.
          if (!answered(events, at)) await peer.fence();
          break;
        }
        case "receive":
          if (isPush(text)) pushes.set(connection, [...pushes.get(connection) ?? [], event]);
          else await receive(peer, event);
          break;
        case "send_end":
          await receivePushes(peer, connection);
          await peer.finish();
          break;
        case "receive_end":
          await peer.closed();
      }
    }
    for (const [name, peer] of peers) assertEquals(peer.untaken, [], `${name} was sent more`);
  } finally {
    for (const peer of peers.values()) await peer[Symbol.asyncDispose]();
  }
  return compared;
}

/** The next thing on this connection is what the server answered. */
function answered(events: readonly Event[], at: number): boolean {
  const { connection } = events[at] ?? {};
  const next = events.slice(at + 1).find((e) => e.connection === connection);
  return next?.what === "receive" && !isPush(next.text);
}

function isPush(text: string): boolean {
  const { msgid }: Received = JSON.parse(text);
  return msgid === MSGID.ONE_CHAT || msgid === MSGID.GROUP_CHAT;
}

for (const workers of [0, 1, 2]) {
  Deno.test(`the recorded session gets the recorded answers, ${workers} workers`, async () => {
    await using server = await TestServer.start({ workers });

    const compared = await replay(server, new Map([[1, 1]]));

    assertEquals(compared, 11);
  });
}

Deno.test("the recorded session gets the same answers in a database that is in use", async () => {
  await using server = await TestServer.start();
  await using earlier = await server.connect(1);
  const first = await earlier.enter("carol");
  await earlier.send({ msgid: MSGID.CREATE_GROUP, id: first, groupname: "older", groupdesc: "" });
  await earlier.fence();

  const compared = await replay(server, new Map([[1, 2]]));

  assertEquals(compared, 11);
  assertEquals(earlier.untaken, []);
});
