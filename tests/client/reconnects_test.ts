import { assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { Reconnects } from "../../client/library/reconnects.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** Every back-off as short as it may be; time stands still until it is moved. */
class HastyClock extends FakeClock {
  random(): number {
    return 0;
  }
}

/** How long the next connection has to wait. */
async function waited(reconnects: Reconnects): Promise<number> {
  let ms = 0;
  const wait = reconnects.wait((waitMs) => ms = waitMs);
  reconnects.endWait();
  await wait;
  return ms;
}

const bye = (errno: number, retryAfterMs?: number) => ({
  msgid: MSGID.BYE,
  errno,
  errmsg: "over",
  ...(retryAfterMs !== undefined && { retryAfterMs }),
});

Deno.test("what the server asks for holds for one wait", async () => {
  const reconnects = new Reconnects(new HastyClock(), 60_000);

  reconnects.bye(bye(9, 3_000));

  assertEquals([await waited(reconnects), await waited(reconnects)], [3_000, 20]);
});

Deno.test("a wait ends by itself or when it is told to, and leaves no timer", async () => {
  const clock = new HastyClock();
  const reconnects = new Reconnects(clock, 60_000);

  const none = reconnects.endWait();
  const first = reconnects.wait(() => {});
  await clock.advance(20);
  await first;
  const between = reconnects.endWait();
  const second = reconnects.wait(() => {});
  const cut = reconnects.endWait();
  await second;

  assertEquals([none, between, cut], [false, false, true]);
  assertEquals(clock.armed, 0);
});

Deno.test("a BYE that is final ends the retries of its connection, and the user may begin new ones", () => {
  const reconnects = new Reconnects(new HastyClock(), 60_000);
  const ends = (errno: number) => {
    reconnects.connected();
    reconnects.bye(bye(errno));
    return reconnects.closed("gone");
  };

  assertEquals(ends(9), { reason: "gone", final: false });
  for (const errno of [1, 2, 6]) assertEquals(ends(errno), { reason: "over", final: true });
  reconnects.reset();
  assertEquals(reconnects.closed("gone"), { reason: "gone", final: false });
});

Deno.test("an outage is given up after its time, a session that was open in it begins another", async () => {
  const clock = new HastyClock();
  const reconnects = new Reconnects(clock, 1_000);

  const outage = [reconnects.lost()];
  await clock.advance(1_000);
  outage.push(reconnects.lost());
  reconnects.online();
  await clock.advance(1);
  outage.push(reconnects.lost());
  await clock.advance(1_001);
  outage.push(reconnects.lost());

  assertEquals(outage, [false, false, false, true]);
});
