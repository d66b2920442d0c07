/**
 * What every StorePort must do, as named cases over an open store. No database and no Deno.test:
 * tests/actors/store_contract_test.ts runs the cases against each adapter.
 *
 * Cases share one store, so each makes its own users and groups and looks at nothing else.
 */

import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  type Append,
  type AppendOutcome,
  DELETED_NAME,
  type GroupId,
  listedOf,
  MAX_LISTED_GROUPS,
  MAX_ORIGINS,
  type Message,
  type Mid,
  type StorePort,
  type UserId,
} from "../../actors/ports.ts";

/** A fresh mid, later than all before it. */
export const nextMid: () => Mid = (() => {
  let count = Date.now() * 1_000;
  return () => `01${(count++).toString(32).toUpperCase().padStart(24, "0")}`;
})();

let names = 0;
/** A name no case has used. */
export const freshName = (stem: string): string => `${stem}-${names++}`;

/** Registers a user under a fresh name. */
export async function newUser(store: StorePort, stem = "user"): Promise<UserId> {
  const id = await store.register(freshName(stem), "hash");
  assert(id !== undefined);
  return id;
}

/** Creates a group under a fresh name, with further members. */
export async function newGroup(
  store: StorePort,
  creator: UserId,
  ...others: UserId[]
): Promise<GroupId> {
  const id = await store.createGroup(creator, freshName("group"), "");
  assert(typeof id === "number");
  for (const user of others) assert(await store.joinGroup(user, id));
  return id;
}

/** A message with a fresh mid and, unless given, a cid like it. */
export function text(fields: Partial<Message> & { from: UserId }): Message {
  const mid = fields.mid ?? nextMid();
  return {
    mid,
    cid: `c-${mid}`,
    name: "",
    ts: 1_700_000_000_000,
    toid: 0,
    groupid: 0,
    msg: "hi",
    extra: "",
    prev: "",
    ...fields,
  };
}

/** Commits messages without receipts, none confirmed. */
export function send(store: StorePort, ...messages: Message[]): Promise<AppendOutcome[]> {
  return store.commit(messages.map((message): Append => ({ message, confirmed: [] })), []);
}

const stored = (...pending: UserId[]): AppendOutcome => ({ status: "stored", pending });
const mids = (messages: readonly Message[]): Mid[] => messages.map((message) => message.mid);

/** The contract, one case per sentence. */
export const CASES: Record<string, (store: StorePort) => Promise<void>> = {
  async "a registered user is found by id and by name"(store) {
    const name = freshName("Ann");
    const id = await store.register(name, "$argon2id$x");

    assert(id !== undefined && id > 0);
    assertEquals(await store.userById(id), { id, name, hash: "$argon2id$x" });
    assertEquals(await store.userByName(name), { id, name, hash: "$argon2id$x" });
    assertEquals(await store.userByName(name.toUpperCase()), { id, name, hash: "$argon2id$x" });
    assertEquals(await store.userById(id + 1_000_000), undefined);
    assertEquals(await store.userByName(freshName("nobody")), undefined);
  },

  async "names that differ only by case or by Unicode form are one name"(store) {
    const tail = freshName("");
    const pairs = [
      ["Zoë", "Zoe\u0308"],
      ["ÉMILE", "émile"],
      ["Straße", "STRASSE"],
      ["ΟΔΟΣ", "οδος"],
      ["ПЁТР", "пётр"],
    ];
    for (const [one, other] of pairs) {
      assert(await store.register(one + tail, "h") !== undefined);
      assertEquals(await store.register(other + tail, "h"), undefined, `${one} ${other}`);
    }
    assert(await store.register("Zoe" + tail, "h") !== undefined, "an accent is a difference");
    const user = await newUser(store);
    assert(await store.createGroup(user, "Müsli" + tail, "") !== undefined);
    assertEquals(await store.createGroup(user, "MÜSLI" + tail, ""), undefined);
  },

  async "a hash is replaced"(store) {
    const id = await newUser(store);

    await store.setHash(id, "new");

    assertEquals((await store.userById(id))?.hash, "new");
  },

  async "of names that look alike one is taken, for users and for groups"(store) {
    const tail = freshName("x");
    const user = await newUser(store);
    for (
      const [first, ...others] of [
        ["alice", "аlice", "ɑlice", "ａｌｉｃｅ", "ALICE"],
        ["fin", "ﬁn", "FIN"],
        ["a b", "a  b", "a\u3000b", "A\u00a0B"],
        ["bob0", "b0b0", "bobO"],
        ["modern", "modem"],
        ["Ольга", "ОЛЬГА"],
      ]
    ) {
      const id = await store.register(first + tail, "hash");
      assert(id !== undefined);
      assert(typeof await store.createGroup(user, first + tail, "") === "number");
      for (const other of others) {
        assertEquals(await store.register(other + tail, "hash"), undefined, other);
        assertEquals(await store.createGroup(user, other + tail, ""), undefined, other);
      }
      assertEquals((await store.userByName(first + tail))?.id, id);
    }
    assertEquals(await store.userByName("аlice" + tail), undefined);
    assert(await store.register("Zoe" + tail, "hash"));
    assert(await store.register("Zoë" + tail, "hash"));
    assert(await store.register("ﷺ".repeat(40) + tail, "hash"));
  },

  async "a friend is listed for the one who added, once"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const bobRow = await store.userById(bob);
    assert(bobRow !== undefined);

    const added = await store.addFriend(ann, bob);
    const again = await store.addFriend(ann, bobRow.name.toUpperCase());

    assertEquals(added, { id: bob, name: bobRow.name });
    assertEquals(again, added);
    assertEquals((await store.contacts(ann)).friends, [{ id: bob, name: bobRow.name }]);
    assertEquals((await store.contacts(bob)).friends, []);
    assertEquals(await store.addFriend(ann, bob + 1_000_000), undefined);
    assertEquals(await store.addFriend(ann, freshName("nobody")), undefined);
  },

  async "a group lists its creator and everyone who joined"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const name = freshName("Team");
    const desc = "why\0not 😀 'quoted' \\";
    const id = await store.createGroup(ann, name, desc);
    assert(typeof id === "number");

    const joined = await store.joinGroup(bob, id);
    const again = await store.joinGroup(bob, name.toLowerCase());

    assert(typeof joined === "object" && typeof again === "object");
    const names = new Map<UserId, string | undefined>();
    for (const user of [ann, bob]) names.set(user, (await store.userById(user))?.name);
    assertEquals(joined.isNew, true);
    assertEquals(joined.group, {
      id,
      groupname: name,
      groupdesc: desc,
      size: 2,
      users: [
        { id: ann, name: names.get(ann) ?? "", role: "creator" },
        { id: bob, name: names.get(bob) ?? "", role: "normal" },
      ],
    });
    assertEquals(again, { isNew: false, group: { ...joined.group, users: [] } });
    assertEquals(await store.group(id), joined.group);
    assertEquals((await store.contacts(bob)).groups, [joined.group]);
    assertEquals((await store.contacts(eve)).groups, []);
  },

  async "a creator who joins stays the creator"(store) {
    const ann = await newUser(store);
    const id = await newGroup(store, ann);

    const joined = await store.joinGroup(ann, id);

    assert(typeof joined === "object");
    assertEquals(joined.isNew, false);
    assertEquals((await store.group(id))?.users.map((user) => user.role), ["creator"]);
  },

  async "a full group takes nobody new, whether asked by id or name"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const name = freshName("g");
    const id = Number(await store.createGroup(ann, name, ""));
    await store.joinGroup(bob, id, 2);

    for (const group of [id, name]) assertEquals(await store.joinGroup(eve, group, 2), "full");

    assertEquals((await store.group(id))?.users.map((user) => user.id), [ann, bob]);
    for (const user of [ann, bob]) {
      const joined = await store.joinGroup(user, id, 2);
      assert(typeof joined === "object");
      assertEquals([joined.isNew, joined.group.size], [false, 2]);
    }
  },

  async "who is in so many groups makes and joins no more, and stays in those"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const [first, second] = [await newGroup(store, bob), await newGroup(store, bob)];
    await store.joinGroup(ann, first, 0, 1);

    assertEquals(await store.joinGroup(ann, second, 0, 1), "too_many");
    assertEquals(await store.createGroup(ann, freshName("more"), "", 1), "too_many");
    const again = await store.joinGroup(ann, first, 0, 1);
    assertEquals(typeof again === "object" && again.isNew, false);
    assertEquals((await store.group(second))?.size, 1);
  },

  async "a message of a large group waits for each member until it is received"(store) {
    const ann = await newUser(store);
    const others = await Promise.all(Array.from({ length: 70 }, () => newUser(store)));
    const [bob = 0, eve = 0, zoe = 0, ...rest] = others;
    const groupid = await newGroup(store, ann, ...others);
    const all = others.toSorted((a, b) => a - b);
    const [one, two, three] = [1, 2, 3].map(() => text({ from: ann, groupid }));
    assert(one !== undefined && two !== undefined && three !== undefined);

    assertEquals(await send(store, one), [stored(...all)]);
    const outcomes = await store.commit(
      [{ message: two, confirmed: [bob] }, { message: three, confirmed: others }],
      [{ user: eve, mid: two.mid }, { user: eve, mid: one.mid }, { user: eve, mid: one.mid }],
    );
    assertEquals(outcomes, [stored(...all.filter((id) => id !== bob && id !== eve)), stored()]);

    const waits = async (user: UserId, after: Mid = "", limit = 9) =>
      mids(await store.pending(user, after, limit));
    assertEquals([await waits(bob), await waits(eve)], [[one.mid], []]);
    assertEquals(await waits(zoe), [one.mid, two.mid]);
    assertEquals(await waits(zoe, "", 1), [one.mid]);
    assertEquals(await waits(zoe, one.mid), [two.mid]);
    assertEquals(await waits(ann), []);
    const direct = text({ from: eve, toid: zoe });
    await send(store, direct);
    assertEquals(await waits(zoe), [one.mid, two.mid, direct.mid].sort());

    // A retry of what is stored: who has yet to receive it.
    const again = await store.commit([{ message: one, confirmed: [bob] }], []);
    assertEquals(again, [stored(...all.filter((id) => id !== bob && id !== eve))]);
    await store.commit([], [zoe, ...rest].map((user) => ({ user, mid: one.mid })));
    await store.commit([], [zoe, ...rest].map((user) => ({ user, mid: two.mid })));
    assertEquals([await waits(bob), await waits(zoe)], [[], [direct.mid]]);
    assertEquals(mids((await store.historyOf(bob, groupid, "", 9))?.messages ?? []).length, 3);
  },

  async "lists are cut, and say how many there are"(store) {
    const ann = await newUser(store);
    const others = await Promise.all(Array.from({ length: 21 }, () => newUser(store)));
    const groups = [await newGroup(store, ann, ...others)];
    for (let i = 0; i < MAX_LISTED_GROUPS; i++) groups.push(await newGroup(store, ann));

    const listed = (await store.contacts(ann)).groups;

    assertEquals(listed.map((group) => group.id), groups.toSorted((a, b) => a - b));
    const each = listedOf(groups.length);
    assertEquals([listed[0]?.size, listed[0]?.users.length], [22, each]);
    assertEquals([listed[1]?.size, listed[1]?.users.length], [1, 1]);
    assertEquals([listed.at(-1)?.size, listed.at(-1)?.users.length], [1, 0]);
    assertEquals((await store.group(groups[0] ?? 0))?.users.length, 22);
    await store.deleteUser(others[0] ?? 0);
    assertEquals((await store.group(groups[0] ?? 0))?.size, 21);
  },

  async "a friend who is removed is listed no more, and nothing else changes"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const bobRow = await store.userById(bob);
    assert(bobRow !== undefined);
    for (const friend of [bob, eve]) await store.addFriend(ann, friend);
    await store.addFriend(bob, ann);

    assertEquals(await store.removeFriend(ann, bobRow.name.toUpperCase()), {
      id: bob,
      name: bobRow.name,
    });
    assertEquals((await store.removeFriend(ann, bob))?.id, bob);
    assertEquals(await store.removeFriend(ann, eve + 1_000_000), undefined);

    assertEquals((await store.contacts(ann)).friends.map(({ id }) => id), [eve]);
    assertEquals((await store.contacts(bob)).friends.map(({ id }) => id), [ann]);
  },
  async "who has enough friends gets no other one"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    await store.addFriend(ann, bob, 1);

    assertEquals(await store.addFriend(ann, eve, 1), "full");
    assertEquals(await store.addFriend(ann, bob, 1), (await store.contacts(ann)).friends[0]);
    assertEquals((await store.contacts(ann)).friends.map((friend) => friend.id), [bob]);
  },

  async "a group that is not there cannot be joined, read or created twice"(store) {
    const ann = await newUser(store);
    const name = freshName("g");
    const id = await store.createGroup(ann, name, "");
    assert(typeof id === "number");

    assertEquals(await store.createGroup(ann, name.toUpperCase(), ""), undefined);
    assertEquals(await store.joinGroup(ann, id + 1_000_000), undefined);
    assertEquals(await store.joinGroup(ann, freshName("nothing")), undefined);
    assertEquals(await store.group(id + 1_000_000), undefined);
  },

  async "a group whose creator is gone has its name still, and who asks for it uses no id up"(
    store,
  ) {
    const [ann, gone] = [await newUser(store), await newUser(store)];
    const name = freshName("left");
    const id = await store.createGroup(gone, name, "");
    await store.deleteUser(gone);

    assertEquals(await store.createGroup(ann, name, ""), undefined);
    assertEquals(await store.createGroup(ann, freshName("next"), ""), Number(id) + 1);
  },

  async "someone with several groups and friends sees each of them"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const [g1, g2] = [await newGroup(store, ann, bob), await newGroup(store, bob, ann)];
    await newGroup(store, bob);
    await store.addFriend(ann, bob);

    const contacts = await store.contacts(ann);

    assertEquals(contacts.friends.map((friend) => friend.id), [bob]);
    assertEquals<unknown>(contacts.groups, [await store.group(g1), await store.group(g2)]);
  },

  async "a message to a user is pending for him until his receipt"(store) {
    const [ann, bob] = [await newUser(store, "Ann"), await newUser(store)];
    const annRow = await store.userById(ann);
    const hello = text({ from: ann, toid: bob, msg: "hello", extra: '{"time":"now"}' });

    assertEquals(await send(store, hello), [stored(bob)]);

    const expected = { ...hello, name: annRow?.name ?? "" };
    assertEquals(await store.pending(bob, "", 10), [expected]);
    assertEquals(await store.pending(ann, "", 10), []);
    assertEquals(await store.commit([], [{ user: bob, mid: hello.mid }]), []);
    assertEquals(await store.pending(bob, "", 10), []);
    assertEquals((await store.historyWith(bob, ann, "", 10)).messages, [expected]);
  },

  async "a message to oneself is pending and read once"(store) {
    const ann = await newUser(store);
    const note = text({ from: ann, toid: ann });

    assertEquals(await send(store, note), [stored(ann)]);

    assertEquals(mids(await store.pending(ann, "", 10)), [note.mid]);
    assertEquals(mids((await store.historyWith(ann, ann, "", 10)).messages), [note.mid]);
  },

  async "a message to a group is pending for every member but its sender"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);

    const [outcome] = await send(store, text({ from: bob, groupid }));

    assert(outcome?.status === "stored");
    assertEquals(outcome.pending.toSorted((a, b) => a - b), [ann, eve]);
    for (const user of [ann, eve]) assertEquals((await store.pending(user, "", 9)).length, 1);
    assertEquals(await store.pending(bob, "", 9), []);
  },

  async "a message after a join reaches the new member, one before it does not"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob);
    assertEquals(await send(store, text({ from: ann, groupid })), [stored(bob)]);

    await store.joinGroup(eve, groupid);
    const later = text({ from: ann, groupid });
    const [outcome] = await send(store, later);

    assert(outcome?.status === "stored");
    assertEquals(outcome.pending.toSorted((a, b) => a - b), [bob, eve]);
    assertEquals(mids(await store.pending(eve, "", 9)), [later.mid]);
    assertEquals(
      await send(store, text({ from: eve, groupid })).then((o) => o[0]?.status),
      "stored",
    );
  },

  async "a message in an otherwise empty group is stored for nobody"(store) {
    const ann = await newUser(store);
    const groupid = await newGroup(store, ann);
    const note = text({ from: ann, groupid });

    assertEquals(await send(store, note), [stored()]);

    assertEquals(mids((await store.historyOf(ann, groupid, "", 9))?.messages ?? []), [note.mid]);
  },

  async "recipients who confirmed before the commit get no pending row"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);

    const outcomes = await store.commit([
      { message: text({ from: ann, groupid }), confirmed: [bob] },
      { message: text({ from: ann, toid: bob }), confirmed: [bob] },
      { message: text({ from: ann, toid: bob }), confirmed: [eve] },
    ], []);

    assertEquals(outcomes, [stored(eve), stored(), stored(bob)]);
    assertEquals((await store.pending(bob, "", 9)).length, 1);
    assertEquals((await store.pending(eve, "", 9)).length, 1);
  },

  async "receipts in a batch take effect on that batch's own messages"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);
    const earlier = text({ from: ann, toid: bob });
    const [one, two] = [text({ from: ann, toid: bob }), text({ from: ann, groupid })];
    await send(store, earlier);

    const outcomes = await store.commit(
      [{ message: one, confirmed: [] }, { message: two, confirmed: [] }],
      [
        { user: bob, mid: earlier.mid },
        { user: bob, mid: one.mid },
        { user: bob, mid: two.mid },
        { user: ann, mid: one.mid },
      ],
    );

    assertEquals(outcomes, [stored(), stored(eve)]);
    assertEquals(await store.pending(bob, "", 9), []);
    assertEquals(mids(await store.pending(eve, "", 9)), [two.mid]);
  },

  async "receipts of strangers and for unknown messages change nothing"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const hello = text({ from: ann, toid: bob });
    await send(store, hello);

    await store.commit([], [
      { user: eve, mid: hello.mid },
      { user: bob, mid: nextMid() },
      { user: bob + 1_000_000, mid: hello.mid },
      { user: Number.MAX_SAFE_INTEGER, mid: hello.mid },
      { user: bob, mid: `${hello.mid} ` },
      { user: bob, mid: hello.mid.toLowerCase() },
      ...["", "\0", "'\"\\", "\u{1f600}".repeat(13), "\ud800".repeat(26), "é".repeat(26)].map((
        mid,
      ) => ({
        user: bob,
        mid,
      })),
    ]);

    assertEquals(mids(await store.pending(bob, "", 9)), [hello.mid]);
  },

  async "a cid stored before gives the first mid and ts, and stores nothing"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const first = text({ from: ann, toid: bob, cid: "k1", ts: 1_700_000_000_123 });
    await send(store, first);

    const outcomes = await send(
      store,
      text({ from: ann, toid: bob, cid: "k1", ts: 1_800_000_000_000 }),
      text({ from: ann, toid: eve, cid: "k1" }),
      text({ from: ann, toid: eve + 1_000_000, cid: "k1" }),
    );

    const duplicate = { status: "duplicate", mid: first.mid, ts: first.ts } as const;
    assertEquals(outcomes, [duplicate, duplicate, duplicate]);
    assertEquals(mids(await store.pending(bob, "", 9)), [first.mid]);
    assertEquals(await store.pending(eve, "", 9), []);
  },

  async "a cid twice in one batch is stored once"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const first = text({ from: ann, toid: bob, cid: "twice" });

    const outcomes = await send(
      store,
      first,
      text({ from: ann, toid: bob }),
      text({ from: ann, toid: bob, cid: "twice", ts: 5 }),
      text({ from: ann, toid: bob, cid: "twice", ts: 6 }),
    );

    const duplicate = { status: "duplicate", mid: first.mid, ts: first.ts } as const;
    assertEquals(outcomes, [stored(bob), stored(bob), duplicate, duplicate]);
    assertEquals((await store.pending(bob, "", 9)).length, 2);
  },

  async "a cid whose first message was refused may be used again"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];

    const outcomes = await send(
      store,
      text({ from: ann, toid: bob + 1_000_000, cid: "again" }),
      text({ from: ann, toid: bob, cid: "again" }),
    );

    assertEquals(outcomes, [{ status: "no_such_target" }, stored(bob)]);
  },

  async "cids are told apart by sender, case, trailing spaces and every character"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const cids = ["k", "K", "k ", "k\0", "k\0\0", " k", "é", "e\u0301", "ß", "ss", "\ufeffk"];

    const outcomes = await send(
      store,
      ...cids.map((cid) => text({ from: ann, toid: bob, cid })),
      text({ from: bob, toid: ann, cid: "k" }),
    );

    assertEquals(outcomes, [...cids.map(() => stored(bob)), stored(ann)]);
    assertEquals((await store.pending(bob, "", 99)).map((message) => message.cid), cids);
    const again = await send(store, ...cids.map((cid) => text({ from: ann, toid: bob, cid })));
    assertEquals(again.map((outcome) => outcome.status), cids.map(() => "duplicate"));
  },

  async "a message committed again under its own mid is stored, not a duplicate"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);
    const [one, two] = [text({ from: ann, toid: bob }), text({ from: ann, groupid })];
    await send(store, one, two);
    await store.commit([], [{ user: bob, mid: one.mid }]);

    const outcomes = await store.commit([
      { message: one, confirmed: [] },
      { message: two, confirmed: [bob] },
      { message: text({ from: ann, toid: eve }), confirmed: [] },
    ], []);

    assertEquals(outcomes, [stored(), stored(eve), stored(eve)]);
    assertEquals(await store.pending(bob, "", 9), []);
    assertEquals((await store.pending(eve, "", 9)).length, 2);
  },

  async "unknown targets and strangers in a group are refused, the rest is stored"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob);

    const outcomes = await send(
      store,
      text({ from: ann, toid: bob }),
      text({ from: ann, toid: bob + 1_000_000 }),
      text({ from: ann, groupid: groupid + 1_000_000 }),
      text({ from: eve, groupid }),
      text({ from: eve + 1_000_000, toid: bob }),
      text({ from: ann }),
      text({ from: ann, groupid }),
    );

    assertEquals(outcomes, [
      stored(bob),
      { status: "no_such_target" },
      { status: "no_such_target" },
      { status: "not_permitted" },
      { status: "not_permitted" },
      { status: "no_such_target" },
      stored(bob),
    ]);
    assertEquals((await store.pending(bob, "", 9)).length, 2);
  },

  async "a large batch to many keeps every message, in order"(store) {
    const users = [];
    for (let i = 0; i < 7; i++) users.push(await newUser(store));
    const [ann = 0, ...others] = users;
    const messages = Array.from(
      { length: 1_500 },
      (_, i) => text({ from: ann, toid: others[i % others.length], msg: `${i}` }),
    );

    const outcomes = await send(store, ...messages);

    assertEquals(outcomes, messages.map((message) => stored(message.toid)));
    for (const user of others) {
      const mine = messages.filter((message) => message.toid === user);
      assertEquals(
        (await store.pending(user, "", 2_000)).map((m) => m.msg),
        mine.map((m) => m.msg),
      );
    }
    await store.commit([], messages.map(({ toid, mid }) => ({ user: toid, mid })));
    for (const user of others) assertEquals(await store.pending(user, "", 9), []);
  },

  async "what many ask for at once is each one's own, however much waits for some"(store) {
    const users = [];
    for (let i = 0; i < 70; i++) users.push(await newUser(store));
    const [ann = 0, bob = 0] = users;
    const group = await store.createGroup(ann, freshName("crowd"), "");
    assert(typeof group === "number");
    const tokens = users.map((user) => `token-${user}`);
    const end = Date.now() + 60_000;
    for (const [i, user] of users.entries()) {
      await store.addFriend(user, users[(i + 1) % users.length] ?? 0);
      if (i % 3 === 0) await store.joinGroup(user, group);
      await store.saveToken(tokens[i] ?? "", user, end, i % 2 === 0 ? "" : "laptop");
    }
    const many = Array.from({ length: 1_100 }, (_, i) => text({ from: ann, toid: bob, ts: i }));
    const one = users.map((user, i) => text({ from: ann, toid: user, ts: 2_000 + i }));
    await send(store, ...many);
    await send(store, ...one);

    const waiting = await Promise.all(users.map((user) => store.pending(user, "", 200)));
    const contacts = await Promise.all(users.map((user) => store.contacts(user)));
    const owners = await Promise.all(tokens.map((token) => store.tokenOwner(token, end - 1)));

    for (const [i, user] of users.entries()) {
      const mine = user === bob ? many.slice(0, 200) : one.slice(i, i + 1);
      assertEquals(mids(waiting[i] ?? []), mids(mine));
      assertEquals(contacts[i]?.friends.map(({ id }) => id), [users[(i + 1) % users.length]]);
      assertEquals(contacts[i]?.groups.map(({ id }) => id), i % 3 === 0 ? [group] : []);
      assertEquals(owners[i]?.id, i % 2 === 0 ? user : undefined);
    }
    assertEquals<unknown>(contacts[0]?.groups, [await store.group(group)]);
  },

  async "an empty commit is no error"(store) {
    assertEquals(await store.commit([], []), []);
  },

  async "pending messages come by mid, in pages"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob);
    const sent = Array.from(
      { length: 10 },
      (_, i) => text(i % 2 === 0 ? { from: ann, toid: bob } : { from: ann, groupid }),
    );
    await send(store, ...sent.slice(5), ...sent.slice(0, 5));

    const pages: Mid[][] = [];
    for (let after = "";;) {
      const page = mids(await store.pending(bob, after, 4));
      if (page.length === 0) break;
      pages.push(page);
      after = page.at(-1) ?? "";
    }

    assertEquals(pages.map((page) => page.length), [4, 4, 2]);
    assertEquals(pages.flat(), mids(sent));
  },

  async "the latest mid of a sender is that of this conversation alone"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groups = [await newGroup(store, ann, bob), await newGroup(store, ann, bob)];
    const [g1 = 0, g2 = 0] = groups;
    assertEquals(await store.lastMid(ann, bob, 0), "");
    assertEquals(await store.lastMid(ann, 0, g1), "");
    const earlier = [text({ from: ann, toid: bob }), text({ from: ann, groupid: g1 })];
    const [toBob, inG1] = [text({ from: ann, toid: bob }), text({ from: ann, groupid: g1 })];
    await send(
      store,
      toBob,
      inG1,
      ...earlier,
      text({ from: bob, toid: ann }),
      text({ from: bob, groupid: g1 }),
      text({ from: ann, toid: eve }),
    );

    assertEquals(await store.lastMid(ann, bob, 0), toBob.mid);
    assertEquals(await store.lastMid(ann, 0, g1), inG1.mid);
    assertEquals(await store.lastMid(ann, 0, g2), "");
    assertEquals(await store.lastMid(eve, ann, 0), "");
  },

  async "history of two users has both directions, newest page first, oldest message first"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const sent = Array.from(
      { length: 7 },
      (_, i) => i % 3 === 0 ? text({ from: bob, toid: ann }) : text({ from: ann, toid: bob }),
    );
    const groupid = await newGroup(store, ann, bob);
    await send(store, ...sent, text({ from: ann, toid: eve }), text({ from: ann, groupid }));

    const latest = await store.historyWith(ann, bob, "", 3);
    await send(store, text({ from: bob, toid: ann })); // pages stay where they were
    const middle = await store.historyWith(bob, ann, latest.messages[0]?.mid ?? "", 3);
    const oldest = await store.historyWith(ann, bob, middle.messages[0]?.mid ?? "", 3);

    assertEquals([latest.more, middle.more, oldest.more], [true, true, false]);
    assertEquals(
      [...mids(oldest.messages), ...mids(middle.messages), ...mids(latest.messages)],
      mids(sent),
    );
    assertEquals(await store.historyWith(bob, eve, "", 3), { messages: [], more: false });
  },

  async "a page that ends at the first message says that there is no more"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    await send(store, text({ from: ann, toid: bob }), text({ from: ann, toid: bob }));

    assertEquals((await store.historyWith(ann, bob, "", 2)).more, false);
    assertEquals((await store.historyWith(ann, bob, "", 1)).more, true);
  },

  async "history of a group is for its members"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob);
    const sent = Array.from({ length: 5 }, (_, i) => text({ from: i % 2 ? ann : bob, groupid }));
    await send(store, ...sent, text({ from: ann, toid: bob }));

    const latest = await store.historyOf(ann, groupid, "", 2);
    const rest = await store.historyOf(bob, groupid, latest?.messages[0]?.mid ?? "", 9);

    assertEquals(latest?.more, true);
    assertEquals(rest?.more, false);
    assertEquals(mids([...rest?.messages ?? [], ...latest?.messages ?? []]), mids(sent));
    assertEquals(await store.historyOf(eve, groupid, "", 2), undefined);
    assertEquals(await store.historyOf(ann, groupid + 1_000_000, "", 2), undefined);
  },

  async "unusual text comes back as it was"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const texts = [
      "\0",
      "a\0b\0",
      "😀👩‍👩‍👧 漢字 \u{10ffff}",
      "\ud800 lone \udc00".toWellFormed(),
      "\ufeffbom",
      "' \" \\ ` ; -- % _ ? :x \n\r\t\x1a\x08",
      "null",
      " padded ",
      "漢".repeat(16_384),
    ];
    const sent = texts.map((msg) => text({ from: ann, toid: bob, msg, extra: msg }));

    await send(store, ...sent);

    const read = await store.pending(bob, "", 99);
    assertEquals(read.map((message) => message.msg), texts);
    assertEquals(read.map((message) => message.extra), texts);
  },

  async "a token belongs to its user until it expires"(store) {
    const [id, tokenId] = [await newUser(store), freshName("token")];
    const now = Date.now();
    await store.saveToken(tokenId, id, now + 1_000);

    const owner = await store.tokenOwner(tokenId, now + 999);

    assertEquals(owner, { id, name: (await store.userById(id))?.name ?? "" });
    assertEquals(await store.tokenOwner(tokenId, now + 1_000), undefined);
    assertEquals(await store.tokenOwner(freshName("token"), now), undefined);
    await store.saveToken(tokenId, id, now + 5_000);
    assertEquals((await store.tokenOwner(tokenId, now + 1_000))?.id, id);
  },

  async "a revoked token has no owner, and nobody revokes another's"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const [t1, t2, t3] = [freshName("t"), freshName("t"), freshName("T")];
    const now = Date.now();
    for (const token of [t1, t2, t3]) await store.saveToken(token, ann, now + 1_000_000);

    await store.revokeToken(bob, t1);
    assertEquals((await store.tokenOwner(t1, now))?.id, ann);
    await store.revokeToken(ann, t1);
    assertEquals(await store.tokenOwner(t1, now), undefined);
    assertEquals((await store.tokenOwner(t2, now))?.id, ann);
    await store.revokeToken(ann, undefined);
    for (const token of [t2, t3]) assertEquals(await store.tokenOwner(token, now), undefined);
  },

  async "a token is good on its device only"(store) {
    const [id, tokenId] = [await newUser(store), freshName("token")];
    const now = Date.now();
    await store.saveToken(tokenId, id, now + 1_000, "phone");

    assertEquals((await store.tokenOwner(tokenId, now, "phone"))?.id, id);
    for (const other of [undefined, "", "Phone", "phone "]) {
      assertEquals(await store.tokenOwner(tokenId, now, other), undefined);
    }
  },

  async "a hash that has changed meanwhile is not replaced"(store) {
    const id = await newUser(store);

    await store.setHash(id, "new", "other");
    assertEquals((await store.userById(id))?.hash, "hash");
    await store.setHash(id, "new", "hash");
    assertEquals((await store.userById(id))?.hash, "new");
  },

  async "a changed password ends all tokens; the one in use goes on under another id"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const [used, lost, others, to] = ["u", "l", "o", "n"].map(freshName);
    const now = Date.now();
    for (const token of [used, lost]) {
      await store.saveToken(token ?? "", ann, now + 1_000, "laptop");
    }
    await store.saveToken(others ?? "", bob, now + 1_000);

    const renewed = { from: used ?? "", to: to ?? "", expires: now + 5_000 };
    await store.changePassword(ann, "new", renewed);

    assertEquals((await store.userById(ann))?.hash, "new");
    assertEquals((await store.tokenOwner(to ?? "", now + 4_000, "laptop"))?.id, ann);
    assertEquals(await store.tokenOwner(to ?? "", now), undefined, "it is still that device's");
    assertEquals(await store.tokenOwner(used ?? "", now, "laptop"), undefined);
    assertEquals(await store.tokenOwner(lost ?? "", now, "laptop"), undefined);
    assertEquals((await store.tokenOwner(others ?? "", now))?.id, bob);

    await store.changePassword(ann, "newer");
    assertEquals(await store.tokenOwner(to ?? "", now, "laptop"), undefined);
    await store.changePassword(bob, "new", { from: to ?? "", to: "none", expires: now + 1_000 });
    assertEquals(await store.tokenOwner("none", now), undefined, "a token that was no more");
  },

  async "of a user's tokens the newest go on, others' are not counted"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const tokens = Array.from({ length: 5 }, () => freshName("t"));
    const own = freshName("b");
    const now = Date.now();
    await store.saveToken(own, bob, now + 1_000);

    for (const [i, token] of tokens.entries()) {
      await store.saveToken(token, ann, now + 10_000 + i, "", 3);
    }

    const live = await Promise.all(tokens.map((token) => store.tokenOwner(token, now)));
    assertEquals(live.map((person) => person?.id), [undefined, undefined, ann, ann, ann]);
    assertEquals((await store.tokenOwner(own, now))?.id, bob);
  },

  async "where a user has logged in from is remembered, the newest of it, until the account ends"(
    store,
  ) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const day = 24 * 3_600_000;
    const origin = (n: number) => `address 10.0.0.${n}`;
    await store.noteOrigins(ann, [origin(0), "device x"], day);
    await store.noteOrigins(ann, [origin(0)], day + 1); // not worth a write
    assertEquals(await store.knownOrigins(ann, [origin(9), "device x", origin(0)]), [
      "device x",
      origin(0),
    ]);
    assertEquals(await store.knownOrigins(bob, ["device x", origin(0)]), []);

    for (let n = 1; n < MAX_ORIGINS; n++) await store.noteOrigins(ann, [origin(n)], 2 * day + n);
    await store.noteOrigins(ann, [origin(0)], 4 * day); // as at least a day has gone
    await store.noteOrigins(ann, [origin(99)], 4 * day + 1);
    assertEquals(
      await store.knownOrigins(ann, ["device x", origin(0), origin(1), origin(2), origin(99)]),
      [origin(0), origin(2), origin(99)],
    );

    await store.deleteUser(ann);
    assertEquals(await store.knownOrigins(ann, [origin(0)]), []);
  },

  async "a deleted account is found by nobody, and its name is free"(store) {
    const name = freshName("Gone");
    const id = await store.register(name, "hash") ?? 0;
    const [ann, token] = [await newUser(store), freshName("t")];
    await store.saveToken(token, id, Date.now() + 1_000);

    await store.deleteUser(id);

    assertEquals(await store.userById(id), undefined);
    assertEquals(await store.userByName(name), undefined);
    assertEquals(await store.userByName(DELETED_NAME), undefined);
    assertEquals(await store.tokenOwner(token, Date.now()), undefined);
    assertEquals(await store.addFriend(ann, id), undefined);
    await store.setHash(id, "back");
    assertEquals(await store.userById(id), undefined);
    assertEquals(await store.deleteUser(id), []);
    const next = await store.register(name, "hash");
    assert(next !== undefined && next !== id);
  },

  async "two accounts may be deleted"(store) {
    for (const id of [await newUser(store), await newUser(store)]) await store.deleteUser(id);
  },

  async "a deleted account leaves its friends and groups"(store) {
    const [ann, gone] = [await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, gone, ann);
    await store.addFriend(ann, gone);
    await store.addFriend(gone, ann);
    await send(store, text({ from: ann, groupid }));

    assertEquals(await store.deleteUser(gone), [groupid]);

    assertEquals((await store.contacts(ann)).friends, []);
    assertEquals((await store.group(groupid))?.users.map((u) => u.id), [ann]);
    assertEquals(await store.contacts(gone), { friends: [], groups: [] });
    assertEquals(await send(store, text({ from: ann, groupid })), [stored()]);
    assertEquals(await store.pending(gone, "", 9), []);
  },

  async "nothing is sent to or by a deleted account; what it sent before stays"(store) {
    const [ann, gone] = [await newUser(store), await newUser(store)];
    const [before, own] = [text({ from: gone, toid: ann }), text({ from: ann, toid: gone })];
    await send(store, before, own);

    await store.deleteUser(gone);

    const outcomes = await send(
      store,
      text({ from: ann, toid: gone }),
      text({ from: gone, toid: ann }),
    );
    assertEquals(outcomes, [{ status: "no_such_target" }, { status: "not_permitted" }]);
    assertEquals(
      (await store.pending(ann, "", 9)).map(({ mid, name }) => [mid, name]),
      [[before.mid, DELETED_NAME]],
    );
    assertEquals(mids((await store.historyWith(ann, gone, "", 9)).messages), [
      before.mid,
      own.mid,
    ]);
  },

  async "a secret is the first one given"(store) {
    const name = freshName("secret");

    assertEquals(await store.secret(name, "first"), "first");
    assertEquals(await store.secret(name, "second"), "first");
    assertNotEquals(await store.secret(freshName("secret"), "other"), "first");
  },

  async "strangers make no friends, groups or tokens"(store) {
    const ann = await newUser(store);
    const nobody = ann + 1_000_000;
    const groupid = await newGroup(store, ann);

    assertEquals(await store.addFriend(nobody, ann), undefined);
    assertEquals(await store.createGroup(nobody, freshName("g"), ""), undefined);
    assertEquals(await store.joinGroup(nobody, groupid), undefined);
    assertEquals((await store.group(groupid))?.users.length, 1);
    assertEquals(await store.contacts(nobody), { friends: [], groups: [] });
    await assertRejects(() => store.saveToken(freshName("t"), nobody, Date.now() + 1_000));
  },
};

/** The same over a store that was opened with `maxPending` 100. */
export const SHARE_CASES: Record<string, (store: StorePort) => Promise<void>> = {
  async "strangers who take what they can leave as much of a mailbox to whoever comes next"(store) {
    const [bob, ann, zoe] = [await newUser(store), await newUser(store), await newUser(store)];
    const greedy = [await newUser(store), await newUser(store), await newUser(store)];
    for (let round = 0; round < 40; round++) {
      await send(store, ...greedy.map((from) => text({ from, toid: bob })));
    }

    assertEquals((await store.pending(bob, "", 200)).length, 75);
    const own = Array.from({ length: 10 }, () => text({ from: ann, toid: bob }));
    assertEquals(await send(store, ...own), own.map(() => stored(bob)));
    assertEquals(await send(store, text({ from: greedy[0] ?? 0, toid: bob })), [BUSY]);
    assertEquals(await send(store, text({ from: zoe, toid: bob })), [stored(bob)]);
  },
};

/** The same over a store that was opened with `maxPending` 3. */
export const MAILBOX_CASES: Record<string, (store: StorePort) => Promise<void>> = {
  async "a full mailbox takes no more until its owner has read, and nobody else is refused"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const sent = Array.from({ length: 4 }, () => text({ from: ann, toid: bob }));

    const outcomes = await send(store, ...sent, text({ from: ann, toid: eve }));

    assertEquals(outcomes, [stored(bob), stored(bob), stored(bob), FULL, stored(eve)]);
    assertEquals((await store.historyWith(ann, bob, "", 9)).messages.length, 3);
    await store.commit([], [{ user: bob, mid: sent[0]?.mid ?? "" }]);
    assertEquals(await send(store, ...sent.slice(3)), [stored(bob)]);
    assertEquals(await send(store, text({ from: ann, toid: bob })), [FULL]);
  },

  async "a mailbox that others have filled has room for its owner's friends; strangers come again"(
    store,
  ) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    await store.addFriend(bob, ann);
    await store.addFriend(eve, bob); // of whom bob knows nothing
    await send(store, ...Array.from({ length: 3 }, () => text({ from: eve, toid: bob })));
    const stranger = await newUser(store);

    const outcomes = await send(
      store,
      ...[eve, stranger, ann, ann, ann, ann].map((from) => text({ from, toid: bob })),
    );

    assertEquals(outcomes, [FULL, BUSY, stored(bob), stored(bob), stored(bob), FULL]);
  },

  async "who was told to come again is not let in before those that he sent meanwhile"(store) {
    const [eve, bob, zoe] = [await newUser(store), await newUser(store), await newUser(store)];
    const sent = Array.from({ length: 3 }, () => text({ from: eve, toid: bob }));
    await send(store, ...sent);
    assertEquals(await send(store, text({ from: zoe, toid: bob })), [BUSY]);
    await store.commit([], sent.map(({ mid }) => ({ user: bob, mid })));

    assertEquals(await send(store, text({ from: zoe, toid: bob })), [BUSY], "though there is room");
  },

  async "a retry of what is stored gets its first answer from a full mailbox"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const sent = Array.from({ length: 3 }, () => text({ from: ann, toid: bob }));
    const [first] = sent;
    assert(first !== undefined);
    await send(store, ...sent);

    const again = text({ from: ann, toid: bob, cid: first.cid });

    const answer = { status: "duplicate", mid: first.mid, ts: first.ts } as const;
    assertEquals(await send(store, again), [answer]);
    assertEquals(await send(store, first), [stored(bob)]);
  },

  async "what a recipient has received already needs no room"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    await send(store, ...Array.from({ length: 3 }, () => text({ from: ann, toid: bob })));
    const [one, two] = [text({ from: ann, toid: bob }), text({ from: ann, toid: bob })];

    const outcomes = await store.commit(
      [{ message: one, confirmed: [bob] }, { message: two, confirmed: [] }],
      [{ user: bob, mid: two.mid }],
    );

    assertEquals(outcomes, [stored(), stored()]);
  },

  async "a group's message passes by a full mailbox and is in the history"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);
    await send(store, ...Array.from({ length: 3 }, () => text({ from: ann, toid: bob })));

    const message = text({ from: ann, groupid });

    assertEquals(await send(store, message), [stored(eve)]);
    assertEquals((await store.pending(bob, "", 9)).length, 3);
    assertEquals(mids((await store.historyOf(bob, groupid, "", 9))?.messages ?? []), [message.mid]);
  },
};
const BUSY: AppendOutcome = { status: "mailbox_busy" };
const FULL: AppendOutcome = { status: "mailbox_full" };
