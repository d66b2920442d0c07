import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { MAX_WATCHED_USERS, PresenceWatch } from "../../actors/sessions/presence.ts";
import { type Outlet, Session } from "../../actors/sessions/session.ts";
import { FakeClock } from "../support/fake_clock.ts";

const NOWHERE: Outlet = { sendPush() {}, received() {}, wantsPull() {} };

function makeSession(conn: number): Session {
  return new Session(conn, "", NOWHERE, () => {}, (error) => {
    throw error;
  });
}

/** A watch over users whose state a test sets. */
function makeWatch() {
  const clock = new FakeClock();
  const online = new Set<number>();
  const told: [conn: number, user: number, online: boolean][] = [];
  const watch = new PresenceWatch(
    clock,
    (user) => online.has(user),
    (session, user, state) => told.push([session.conn, user, state]),
  );
  const set = (user: number, state: boolean) => {
    if (state) online.add(user);
    else online.delete(user);
    watch.changed(user, state);
  };
  return { clock, online, told, watch, set };
}

Deno.test("watchers are told once that a user came, others are not", async () => {
  const { clock, told, watch, set } = makeWatch();
  const [one, two, three] = [makeSession(1), makeSession(2), makeSession(3)];
  watch.watch(one, [7, 8, 7]);
  watch.watch(two, [7]);
  watch.watch(three, [9]);
  set(7, true);
  await clock.advance(1_000);
  assertEquals(told, [[1, 7, true], [2, 7, true]]);
  watch.unwatch(one);
  set(7, false);
  await clock.advance(1_000);
  assertEquals(told.slice(2), [[2, 7, false]]);
});

Deno.test("who comes and goes within a moment costs at most one message", async () => {
  const { clock, told, watch, set } = makeWatch();
  watch.watch(makeSession(1), [7, 8]);
  for (let n = 0; n < 100; n++) set(7, n % 2 === 0); // ends where it began
  for (let n = 0; n < 101; n++) set(8, n % 2 === 0);
  await clock.advance(1_000);
  assertEquals(told, [[1, 8, true]]);
});

Deno.test("nobody is told of himself, and a session watches a bounded number of users", () => {
  const { watch } = makeWatch();
  const session = makeSession(1);
  session.user = 5;
  watch.watch(session, [5]);
  assertEquals(watch.size, 0);
  watch.watch(session, Array.from({ length: 3_000 }, (_, i) => i + 10));
  assertEquals([session.watching.length, watch.size], [MAX_WATCHED_USERS, MAX_WATCHED_USERS]);
  watch.unwatch(session);
  assertEquals([session.watching.length, watch.size], [0, 0]);
});

const step = fc.record({
  what: fc.constantFrom("on", "off", "watch", "wait"),
  user: fc.integer({ min: 1, max: 3 }),
  session: fc.nat(2),
});

Deno.test("whatever happens, each watcher ends up knowing how each user is", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { clock, online, told, watch, set } = makeWatch();
      const sessions = [makeSession(1), makeSession(2), makeSession(3)];
      const believed = new Map<string, boolean>();
      for (const { what, user, session } of steps) {
        if (what === "on" && !online.has(user)) set(user, true);
        else if (what === "off" && online.has(user)) set(user, false);
        else if (what === "wait") await clock.advance(100);
        else if (what === "watch") {
          const watcher = sessions[session];
          if (watcher === undefined || believed.has(`${watcher.conn} ${user}`)) continue;
          watch.watch(watcher, [user]); // the answer that begins it says how the user is
          for (const [conn, of, state] of told.splice(0)) believed.set(`${conn} ${of}`, state);
          believed.set(`${watcher.conn} ${user}`, online.has(user));
        }
      }
      await clock.advance(1_000);
      for (const [conn, user, state] of told) believed.set(`${conn} ${user}`, state);
      for (const [key, state] of believed) {
        assertEquals(state, online.has(Number(key.split(" ")[1])), key);
      }
    }),
    { numRuns: 100 },
  );
});
