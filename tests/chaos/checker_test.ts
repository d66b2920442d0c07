/**
 * The chaos checker, checked: a run that is right passes, and of each thing that can be wrong a
 * recorded run that is wrong in that way alone is found out.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { judge } from "./checker.ts";
import type { Kind } from "./findings.ts";
import { parseText, textOf } from "./plan.ts";
import { DamagedRecord, type Evidence, type Line, readRecord, Recorder } from "./record.ts";
import { timeline } from "./timeline.ts";

const ALICE = 1;
const BOB = 2;
const CAROL = 3;
const GROUP = 9;
const PAIR = "p:1-2";
const IN_GROUP = `g:${GROUP}`;
/** Server's ids of the messages, in order. */
const [A1, A2, B1, A3] = ["01A", "01B", "01C", "01D"] as const;

interface Run {
  alice: Line[];
  bob: Line[];
  carol: Line[];
  harness: Line[];
}

/**
 * Alice writes twice to Bob and once to the group, Bob answers in the group; Carol's client is
 * killed and is handed a message again; in the end she leaves.
 */
function rightRun(): Run {
  let t = 1_000;
  const next = () => t++;
  const begins = (number: number): Line => ({ k: "client", t: next(), number });
  const sends = (
    n: number,
    conv: string,
    mid: string,
    re?: { from: number; n: number },
  ): Line[] => [
    { k: "send", t: next(), conv, n, ...re && { re } },
    { k: "queued", t: next(), n, cid: `cid-${n}` },
    { k: "acked", t: next(), n, mid },
  ];
  const sees = (
    from: number,
    n: number,
    conv: string,
    mid: string,
    re?: { from: number; n: number },
  ): Line => ({ k: "seen", t: next(), conv, from, n, mid, ...re && { re } });
  const pair = (): Line => ({
    k: "history",
    t: next(),
    conv: PAIR,
    part: [[ALICE, 1, A1], [ALICE, 2, A2]],
    last: true,
  });
  const group = (): Line[] => [
    { k: "history", t: next(), conv: IN_GROUP, part: [[ALICE, 3, B1]], last: false },
    { k: "history", t: next(), conv: IN_GROUP, part: [[BOB, 1, A3]], last: true },
  ];
  const cause = { from: ALICE, n: 3 };
  return {
    alice: [
      begins(1),
      ...sends(1, PAIR, A1),
      ...sends(2, PAIR, A2),
      ...sends(3, IN_GROUP, B1),
      sees(BOB, 1, IN_GROUP, A3, cause),
      pair(),
      ...group(),
    ],
    bob: [
      begins(1),
      sees(ALICE, 1, PAIR, A1),
      sees(ALICE, 2, PAIR, A2),
      sees(ALICE, 3, IN_GROUP, B1),
      ...sends(1, IN_GROUP, A3, cause),
      pair(),
      ...group(),
    ],
    carol: [
      begins(1),
      sees(ALICE, 3, IN_GROUP, B1),
      begins(2),
      { k: "again", t: next(), from: ALICE, n: 3, mid: B1 },
      sees(BOB, 1, IN_GROUP, A3, cause),
      ...group(),
      { k: "left", t: next(), user: CAROL, how: "logout" },
    ],
    harness: [
      { k: "fault", t: 1_005, until: 1_010, name: "node killed", what: "node1" },
      { k: "presence", t: next(), node: "n1", online: [ALICE, BOB], offline: [CAROL] },
    ],
  };
}

function evidence({ alice, bob, carol, harness }: Run): Evidence {
  return {
    groups: new Map([[GROUP, [ALICE, BOB, CAROL]]]),
    records: new Map([[ALICE, alice], [BOB, bob], [CAROL, carol]]),
    harness,
  };
}

/** The one line that `is` describes. */
function find(lines: Line[], is: (line: Line) => boolean): number {
  const at = lines.findIndex(is);
  assert(at >= 0, "no such line");
  return at;
}

function remove(lines: Line[], is: (line: Line) => boolean): void {
  lines.splice(find(lines, is), 1);
}

function change<K extends Line["k"]>(
  lines: Line[],
  k: K,
  n: number | undefined,
  to: Partial<Extract<Line, { k: K }>>,
): void {
  const at = find(lines, (l) => l.k === k && (n === undefined || ("n" in l && l.n === n)));
  lines[at] = { ...lines[at], ...to } as Line; // the same kind of line
}

function swap(lines: Line[], a: number, b: number): void {
  const [first, second] = [lines[a], lines[b]];
  assert(first !== undefined && second !== undefined);
  lines[a] = second;
  lines[b] = first;
}

/** What each kind of violation looks like in the records. */
const BROKEN: Record<Kind, (run: Run) => void> = {
  "acknowledged but never seen"({ carol }) {
    remove(carol, (l) => l.k === "seen" && l.from === BOB);
  },
  "queued but never seen"({ alice, bob }) {
    remove(alice, (l) => l.k === "acked" && l.n === 2);
    alice.push({ k: "client", t: 2_000, number: 2 });
    remove(bob, (l) => l.k === "seen" && l.n === 2);
  },
  "queued but never acknowledged"({ alice }) {
    remove(alice, (l) => l.k === "acked" && l.n === 2);
  },
  "refused for good"({ alice, bob }) {
    // Taken back by the server, and nobody has it.
    change(alice, "send", 2, { conv: PAIR });
    remove(alice, (l) => l.k === "acked" && l.n === 2);
    alice.push({ k: "failed", t: 2_000, n: 2, errno: 5, why: "no such user" });
    remove(bob, (l) => l.k === "seen" && l.n === 2);
  },
  "acknowledged twice under different ids"({ alice }) {
    const at = find(alice, (l) => l.k === "acked" && l.n === 1);
    alice.splice(at, 0, { k: "acked", t: 1_003, n: 1, mid: "00Z" });
  },
  "seen twice"({ bob }) {
    const seen = bob[find(bob, (l) => l.k === "seen" && l.n === 1)];
    assert(seen !== undefined);
    bob.push(seen);
  },
  "seen by a stranger"({ carol }) {
    carol.push({ k: "seen", t: 2_000, conv: PAIR, from: ALICE, n: 1, mid: A1 });
  },
  "seen but never sent"({ bob }) {
    bob.push({ k: "seen", t: 2_000, conv: PAIR, from: ALICE, n: 7, mid: "01Z" });
  },
  "changed on the way"({ bob }) {
    change(bob, "seen", 2, { intact: false });
  },
  "out of order"({ bob }) {
    const first = find(bob, (l) => l.k === "seen" && l.n === 1);
    swap(bob, first, find(bob, (l) => l.k === "seen" && l.n === 2));
  },
  "reply before its cause"({ alice, bob, carol }) {
    // All see it so, and no history says under which id it is stored.
    for (const lines of [alice, bob, carol]) {
      const at = lines.findIndex((l) => l.k === "history" && l.conv === IN_GROUP && l.last);
      lines[at] = { k: "history", t: 1_900, conv: IN_GROUP, part: [], last: true };
    }
    remove(bob, (l) => l.k === "queued" && l.n === 1);
    remove(bob, (l) => l.k === "acked" && l.n === 1);
    change(carol, "seen", 1, { mid: "00Z" });
  },
  "stuck pending row"({ harness }) {
    harness.push({ k: "pending", t: 2_000, user: CAROL, mid: B1 });
  },
  "ghost in presence"({ harness }) {
    change(harness, "presence", undefined, { online: [ALICE, BOB, CAROL], offline: [] });
  },
  "missing in presence"({ harness }) {
    change(harness, "presence", undefined, { online: [ALICE], offline: [BOB, CAROL] });
  },
  "acknowledged but not in history"({ alice, bob }) {
    for (const lines of [alice, bob]) {
      change(lines, "history", undefined, { part: [[ALICE, 1, A1]] });
    }
  },
  "queued but not in history"({ alice, bob }) {
    remove(alice, (l) => l.k === "acked" && l.n === 2);
    alice.push({ k: "client", t: 2_000, number: 2 });
    for (const lines of [alice, bob]) {
      change(lines, "history", undefined, { part: [[ALICE, 1, A1]] });
    }
  },
  "twice in history"({ alice }) {
    change(alice, "history", undefined, { part: [[ALICE, 1, A1], [ALICE, 2, A2], [ALICE, 1, B1]] });
  },
  "history has another id"({ alice }) {
    change(alice, "history", undefined, { part: [[ALICE, 1, A1], [ALICE, 2, "01BZ"]] });
  },
  "history out of order"({ alice }) {
    // Under ids that are in order: as if they had been stamped the wrong way round.
    change(alice, "acked", 1, { mid: A2 });
    change(alice, "acked", 2, { mid: A1 });
    change(alice, "history", undefined, { part: [[ALICE, 2, A1], [ALICE, 1, A2]] });
  },
  "history has a reply before its cause"({ alice, bob, carol }) {
    // As if both had been stamped again after everybody had been handed them.
    change(alice, "acked", 3, { mid: A3 });
    change(bob, "acked", 1, { mid: B1 });
    change(alice, "seen", 1, { mid: "01E" });
    for (const lines of [alice, bob, carol]) {
      const at = find(lines, (l) => l.k === "history" && l.conv === IN_GROUP);
      lines.splice(at, 2, {
        k: "history",
        t: 1_900,
        conv: IN_GROUP,
        part: [[BOB, 1, B1], [ALICE, 3, A3]],
        last: true,
      });
    }
  },
  "no evidence"({ harness }) {
    remove(harness, (l) => l.k === "presence");
  },
};

/** Kinds that a run broken in one way shows besides, because one cannot be without the other. */
const ALSO: Partial<Record<Kind, readonly Kind[]>> = {
  // The history that both read has ids the other record does not know of.
  "history out of order": ["history has another id"],
};

Deno.test("a run in which all was right passes, and is counted", () => {
  const { violations, counts } = judge(evidence(rightRun()));

  assertEquals(violations, []);
  assertEquals(counts, {
    users: 3,
    sent: 4,
    acknowledged: 4,
    deliveries: 6,
    repeats: 1,
    replies: 1,
    inversions: 0,
    replacedIds: 0,
    history: 10,
    presence: 1,
  });
});

for (const [kind, breakIt] of Object.entries(BROKEN)) {
  Deno.test(`a run that is wrong in one way is found out: ${kind}`, () => {
    const run = rightRun();

    breakIt(run);
    const { violations } = judge(evidence(run));

    const kinds: string[] = [...new Set(violations.map((v) => v.kind))];
    const expected = [kind, ...ALSO[kind as Kind] ?? []]; // the keys are kinds
    assertEquals(kinds.toSorted(), expected.toSorted());
    for (const { text } of violations) assert(text.length > 10, text);
  });
}

Deno.test("an answer that came before what it answers is counted; its id is what is judged", () => {
  const run = rightRun();
  // Without the second client, so that nothing is handed over again.
  run.carol.splice(2, 2);
  const cause = find(run.carol, (l) => l.k === "seen" && l.from === ALICE);
  swap(run.carol, cause, find(run.carol, (l) => l.k === "seen" && l.from === BOB));

  const { violations, inversions, counts } = judge(evidence(run));

  assertEquals(violations, []);
  assertEquals(inversions, [{ user: CAROL, reply: "2.1", cause: "1.3" }]);
  assertEquals(counts.inversions, 1);
});

Deno.test("a message handed over under an id that another attempt has replaced is counted", () => {
  const run = rightRun();
  change(run.alice, "seen", 1, { mid: "00Z" });

  const { violations, counts } = judge(evidence(run));

  assertEquals(violations, []);
  assertEquals(counts.replacedIds, 1);
});

Deno.test("what a killed client was never told of is no violation once everybody has it", () => {
  const run = rightRun();

  remove(run.alice, (l) => l.k === "acked" && l.n === 2);
  run.alice.push({ k: "client", t: 2_000, number: 2 });

  assertEquals(judge(evidence(run)).violations, []);
});

Deno.test("what a client was killed over before it was queued may or may not have been sent", () => {
  const run = rightRun();
  run.alice.push({ k: "send", t: 2_000, conv: PAIR, n: 9 });

  assertEquals(judge(evidence(run)).violations, []);
});

Deno.test("a history that was not read to its end proves nothing", () => {
  const run = rightRun();
  change(run.alice, "history", undefined, { last: false });

  const { violations } = judge(evidence(run));

  assertEquals(violations.map((v) => v.kind), ["no evidence"]);
});

Deno.test("a message's timeline has its way, the faults meanwhile and its sender's connection", () => {
  const run = rightRun();
  run.alice.splice(2, 0, { k: "state", t: 1_004, state: "online", why: "" });
  const [sent, queued, acked] = run.alice.filter((l) => "n" in l && l.n === 1).map((l) => l.t);
  assert(sent !== undefined && queued !== undefined && acked !== undefined);

  const lines = timeline(evidence(run), "1.1");

  const at = (t: number, text: string) => {
    return `${((t - sent) / 1_000).toFixed(3).padStart(9)} s  ${text}`;
  };
  const mine = lines.filter((line) => !/history|user 2/.test(line));
  assertEquals(
    mine.toSorted(),
    [
      at(1_000, "user 1: client 1 begins"),
      at(sent, "user 1: about to send it to p:1-2"),
      at(queued, "user 1: queued as cid-1"),
      at(acked, "user 1: acknowledged as 01A"),
      at(1_004, "user 1: online"),
      at(1_005, "fault: node killed node1, for 5 ms"),
    ].toSorted(),
  );
  assertEquals(lines.filter((line) => line.includes("user 2: saw 01A")).length, 1);
  assertEquals(lines, lines.toSorted((a, b) => parseFloat(a) - parseFloat(b)));
});

Deno.test("a record survives a line torn by a kill, and is refused when it is damaged elsewhere", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = join(dir, "1.ndjson");
    const write = (number: number) => {
      const recorder = new Recorder(path);
      recorder.add({ k: "client", t: 1, number });
      recorder.close();
    };
    write(1);
    await Deno.writeTextFile(path, '{"k":"seen","t":1,', { append: true });
    write(2);

    assertEquals(readRecord(path).map((l) => l.k === "client" && l.number), [1, 2]);
    await Deno.writeTextFile(path, 'torn\n{"k":"queued","t":1,"n":1,"cid":"c"}\n', {
      append: true,
    });
    assertThrows(() => readRecord(path), DamagedRecord);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a message's text tells who sent it and what it answers, and shows every change", () => {
  for (let n = 1; n <= 200; n++) {
    const re = n % 2 === 0 ? { from: 7, n: n - 1 } : undefined;
    const text = textOf(3, n, re);

    assertEquals(parseText(text), { from: 3, n, re, intact: true });
    assertEquals(parseText(`${text} `)?.intact, false);
  }
  assertEquals(parseText("something else"), undefined);
});
