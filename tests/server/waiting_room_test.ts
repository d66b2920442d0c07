/** Who makes room for whom. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Waiting, WaitingRoom } from "../../server/sockets/waiting_room.ts";

Deno.test("the oldest of the address with most makes room, whoever comes", () => {
  const room = new WaitingRoom(4);
  const evicted: string[] = [];
  const enter = (remote: string, name: string) => {
    const waiting = { remote, evict: () => void evicted.push(name) };
    room.enter(waiting);
    return waiting;
  };
  enter("192.0.2.1", "a1");
  const a2 = enter("192.0.2.1", "a2");
  enter("192.0.2.1", "a3");
  enter("2001:db8::1", "v1");
  enter("2001:db8::2", "v2"); // one network with v1
  assertEquals(evicted, ["a1"]);
  room.leave(a2);
  enter("192.0.2.9", "b");
  enter("192.0.2.10", "c");
  assertEquals(evicted, ["a1", "v1"]);
  assertEquals([room.size, room.of("192.0.2.1"), room.of("2001:db8::77")], [4, 1, 1]);
});

Deno.test("however they come and go, the room holds no more, and only addresses with most lose", () => {
  const step = fc.record({
    network: fc.integer({ min: 1, max: 5 }),
    leave: fc.option(fc.nat(), { nil: undefined }),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const room = new WaitingRoom(8);
    const inside: Waiting[] = [];
    const countOf = (remote: string) => inside.filter((one) => one.remote === remote).length;
    for (const { network, leave } of steps) {
      if (leave !== undefined && inside.length > 0) {
        const [one] = inside.splice(leave % inside.length, 1);
        if (one !== undefined) room.leave(one);
        continue;
      }
      const waiting: Waiting = {
        remote: `10.0.0.${network}`,
        evict() {
          const most = Math.max(...inside.map((one) => countOf(one.remote)));
          assertEquals(countOf(waiting.remote), most);
          assertEquals(inside.find((one) => one.remote === waiting.remote), waiting);
          inside.splice(inside.indexOf(waiting), 1);
        },
      };
      inside.push(waiting);
      room.enter(waiting);
      assertEquals(room.size, inside.length);
      assert(room.size <= 8);
    }
  }));
});
