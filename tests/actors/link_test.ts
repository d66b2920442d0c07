import { assertEquals } from "@std/assert";
import {
  inlinePorts,
  Link,
  messagePort,
  type Payload,
  type PortLike,
} from "../../actors/runtime/link.ts";
import { settle } from "../support/fake_clock.ts";

/** A port that keeps what is posted, and a link over it that flushes when told to. */
function makeLink() {
  const posts: Payload[] = [];
  let closed = 0;
  const port: PortLike = {
    post: (payload) => void posts.push(payload),
    listen() {},
    close: () => void closed++,
  };
  const turns: (() => void)[] = [];
  const link = new Link(port, (fn) => turns.push(fn));
  const endTurn = () => {
    for (const fn of turns.splice(0)) fn();
  };
  return { link, posts, endTurn, turns, closed: () => closed };
}

Deno.test("what is pushed in a turn is one post, at its end", () => {
  const { link, posts, endTurn } = makeLink();
  link.push({ to: "a", body: 1 });
  link.push({ to: "b", body: 2 });
  assertEquals(posts, []);
  endTurn();
  assertEquals(posts, [{ items: [{ to: "a", body: 1 }, { to: "b", body: 2 }], lane: undefined }]);
  endTurn();
  assertEquals(posts.length, 1, "an empty turn posts nothing");
});

Deno.test("the lane goes with the items, and alone when there are none", () => {
  const { link, posts, endTurn } = makeLink();
  let lane: unknown[] = [];
  link.setLane(() => {
    const data = lane;
    lane = [];
    return data.length === 0 ? undefined : { data, transfer: [] };
  });
  link.touch();
  endTurn();
  assertEquals(posts, [], "nothing to say");
  lane.push("frame");
  link.touch();
  link.push({ to: "a", body: 1 });
  endTurn();
  lane.push("frame 2");
  link.touch();
  link.touch();
  endTurn();
  assertEquals(posts, [
    { items: [{ to: "a", body: 1 }], lane: ["frame"] },
    { items: [], lane: ["frame 2"] },
  ]);
});

Deno.test("a closed link posts nothing more, not even what was gathered", () => {
  const { link, posts, endTurn, closed } = makeLink();
  link.push({ to: "a", body: 1 });
  link.close();
  link.push({ to: "a", body: 2 });
  link.flush();
  endTurn();
  assertEquals([posts, closed()], [[], 1]);
});

Deno.test("inline ports deliver in order, later, and not after they are closed", async () => {
  const [a, b] = inlinePorts(queueMicrotask);
  const got: unknown[] = [];
  b.listen(({ lane }) => got.push(lane));
  a.post({ items: [], lane: 1 }, []);
  a.post({ items: [], lane: 2 }, []);
  assertEquals(got, [], "never within the sender's call");
  await settle();
  assertEquals(got, [1, 2]);
  a.post({ items: [], lane: 3 }, []);
  b.close();
  await settle();
  assertEquals(got, [1, 2]);
});

Deno.test("a link over message ports carries plain data and bytes", async () => {
  const { port1, port2 } = new MessageChannel();
  const sender = new Link(messagePort(port1, () => port1.close()), queueMicrotask);
  const { promise, resolve } = Promise.withResolvers<Payload>();
  messagePort(port2, () => port2.close()).listen(resolve);
  sender.setLane(() => {
    const bytes = new TextEncoder().encode("漢");
    return { data: { bytes, rows: Float64Array.of(1, 2) }, transfer: [bytes.buffer] };
  });

  sender.push({ to: "a", body: { deep: ["x", 1, undefined] } });

  assertEquals(await promise, {
    items: [{ to: "a", body: { deep: ["x", 1, undefined] } }],
    lane: { bytes: new TextEncoder().encode("漢"), rows: Float64Array.of(1, 2) },
  });
  sender.close();
  port2.close();
});
