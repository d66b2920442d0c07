/**
 * Delivery rules of one session against a model: whatever is lost, late or out of order on the way,
 * its client gets every stored message, each sender's in sending order, and none twice.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { HybridClock } from "../../actors/hlc.ts";
import type { Message, Mid } from "../../actors/ports.ts";
import { pull } from "../../actors/worker/pull.ts";
import { Delivery } from "../../actors/sessions/delivery.ts";
import { type Outlet, Session } from "../../actors/sessions/session.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";

const ME = 99;
const GROUP = 7;

/** One message on its way. Times in ms after the one before it. */
interface Plan {
  readonly from: number;
  readonly group: boolean;
  readonly gapMs: number;
  /** Its row appears this long after it was sent, and not before its sender's earlier rows. */
  readonly commitMs: number;
  /** Its live push arrives after this long, or never. */
  readonly pushMs: number | undefined;
}

const plan: fc.Arbitrary<Plan> = fc.record({
  from: fc.integer({ min: 1, max: 3 }),
  group: fc.boolean(),
  gapMs: fc.constantFrom(0, 0, 1, 3, 50),
  commitMs: fc.constantFrom(0, 4, 12, 200, 3_000),
  pushMs: fc.option(fc.constantFrom(0, 0, 0, 1, 5, 40, 400), { nil: undefined, freq: 4 }),
});

/** A session, its client and the pending rows of its user. */
class World {
  readonly clock = new FakeClock(1_700_000_000_000);
  readonly rows = new Map<Mid, Message>();
  readonly received = new Set<Mid>();
  /** What the client was pushed, in order. */
  readonly pushes: Message[] = [];
  readonly session: Session;
  readonly #readMs: number;
  readonly #receiptMs: number;

  constructor(v: 1 | 2, readMs: number, receiptMs: number) {
    this.#readMs = readMs;
    this.#receiptMs = receiptMs;
    const { clock } = this;
    const outlet: Outlet = {
      sendPush: (session, { message }, number) => {
        this.pushes.push(message);
        clock.after(this.#receiptMs, () => {
          if (v === 2) session.receipt(message.mid);
          else session.written(number);
        });
      },
      received: (_, mid) => {
        this.received.add(mid);
        this.rows.delete(mid);
      },
      wantsPull: (session) =>
        void pull(session, {
          clock,
          pending: (_, after, limit) => this.#read(after, limit),
          observe() {},
          onFailure: (error) => {
            throw error;
          },
          random: () => 0.5,
        }),
    };
    this.session = new Session(1, "", outlet, () => {}, (error) => {
      throw error;
    });
    this.session.v = v;
  }

  /** A consistent page of what is pending, as of some moment before it arrives. */
  #read(after: Mid, limit: number): Promise<Message[]> {
    const page = [...this.rows.values()]
      .filter(({ mid }) => mid > after)
      .sort((a, b) => (a.mid < b.mid ? -1 : 1))
      .slice(0, limit);
    return new Promise((resolve) => this.clock.after(this.#readMs, () => resolve(page)));
  }

  login(): void {
    this.session.begin(ME, "me", this.clock.now());
    this.session.pull(); // a no-op while it pulls already: the host starts the first one
  }

  commit(message: Message): void {
    if (!this.received.has(message.mid)) this.rows.set(message.mid, message);
  }
}

/** Sends everything as planned; returns the messages in sending order. */
function send(world: World, plans: readonly Plan[]): Message[] {
  const { clock } = world;
  const hlc = new HybridClock(() => at);
  let at = clock.now();
  const last = new Map<string, Mid>();
  const committed = new Map<number, number>();
  return plans.map(({ from, group, gapMs, commitMs, pushMs }, n) => {
    at += gapMs;
    const conversation = `${from} ${group}`;
    const message: Message = {
      mid: hlc.next(),
      cid: `${n}`,
      from,
      name: "x",
      ts: at,
      toid: group ? 0 : ME,
      groupid: group ? GROUP : 0,
      msg: `${n}`,
      extra: "",
      prev: last.get(conversation) ?? "",
    };
    last.set(conversation, message.mid);
    const now = clock.now();
    const commitAt = Math.max(at + commitMs, committed.get(from) ?? 0);
    committed.set(from, commitAt);
    clock.after(commitAt - now, () => world.commit(message));
    if (pushMs !== undefined) {
      const delivery = new Delivery(message, 0, false);
      clock.after(at + pushMs - now, () => world.session.push(delivery));
    }
    return message;
  });
}

function conversationOf(m: Message): string {
  return `${m.from} ${m.groupid}`;
}

function check(world: World, sent: readonly Message[]): void {
  const { pushes } = world;
  assertEquals(pushes.length, new Set(pushes.map((m) => m.mid)).size, "none twice");
  assertEquals(new Set(pushes), new Set(sent), "none lost");
  for (const conversation of new Set(sent.map(conversationOf))) {
    const of = (list: readonly Message[]) =>
      list.filter((m) => conversationOf(m) === conversation).map((m) => m.cid);
    assertEquals(of(pushes), of(sent), `order of ${conversation}`);
  }
  assertEquals(world.rows.size, 0, "nothing is pending any more");
}

for (const v of [1, 2] as const) {
  Deno.test(`a v${v} session gives its client every message in order, once, whatever the way does`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(plan, { maxLength: 25 }),
        fc.constantFrom(0, 2, 30),
        fc.constantFrom(0, 1, 20),
        fc.integer({ min: 0, max: 100 }),
        async (plans, readMs, receiptMs, loginMs) => {
          const world = new World(v, readMs, receiptMs);
          const sent = send(world, plans);
          await world.clock.advance(loginMs); // some are sent before it comes
          world.login();
          // As the host does once it has answered the login.
          world.session.stopPulling();
          world.session.pull();
          await world.clock.advance(20_000);
          // Nothing has come for a while: the store hints at what has no receipt.
          for (let hint = 0; hint < 3; hint++) {
            world.session.pull();
            await world.clock.advance(20_000);
          }
          check(world, sent);
        },
      ),
      { numRuns: 500 },
    );
  });
}

Deno.test("a push is not sent for a user who has left, nor held for the next", async () => {
  const world = new World(2, 0, 0);
  world.login();
  world.session.stopPulling();
  const [message] = send(world, [{ from: 1, group: false, gapMs: 0, commitMs: 0, pushMs: 5 }]);
  world.session.end();
  await world.clock.advance(100);
  assertEquals(world.pushes, []);
  world.session.begin(ME + 1, "other", world.clock.now());
  await microtasks();
  assertEquals(world.pushes, []);
  assert(message !== undefined && world.rows.has(message.mid), "it waits for its user");
});
