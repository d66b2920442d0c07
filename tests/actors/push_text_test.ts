import { assert, assertEquals, assertMatch } from "@std/assert";
import { GroupChatPush, MSGID, OneChatPush } from "@chat/wire/messages.ts";
import fc from "fast-check";
import type { Message } from "../../actors/ports.ts";
import {
  classicTime,
  historyText,
  pushTextV1,
  pushTextV2,
} from "../../actors/sessions/push_text.ts";

const MID = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

const message = (fields: Partial<Message> = {}): Message => ({
  mid: MID,
  cid: "c",
  from: 1,
  name: "alice",
  ts: 1_700_000_000_000,
  toid: 2,
  groupid: 0,
  msg: "hello",
  extra: "",
  prev: "",
  ...fields,
});

const anyText = fc.string({ unit: "binary", maxLength: 50 });

Deno.test("a v2 push is what the schema says, whatever is in its texts", () => {
  fc.assert(
    fc.property(anyText, anyText, anyText, fc.boolean(), (cid, name, msg, group) => {
      const m = message({ cid, name, msg, ...(group ? { toid: 0, groupid: 9 } : {}) });
      const parsed = JSON.parse(pushTextV2(m));
      assertEquals(group ? GroupChatPush.parse(parsed) : OneChatPush.parse(parsed), parsed);
      assertEquals([parsed.cid, parsed.name, parsed.msg], [cid, name, msg]);
      const { msgid: _, ...rest } = parsed;
      assertEquals(JSON.parse(historyText(m)), rest);
    }),
  );
});

Deno.test("a v1 push is what its sender wrote, with the true sender before it", () => {
  const extra = JSON.stringify({ to: 2, time: "2026-11-23 03:44:35", colour: { r: 1 } });
  const text = pushTextV1(message({ extra }));
  assertEquals(JSON.parse(text), {
    msgid: MSGID.ONE_CHAT,
    id: 1,
    name: "alice",
    msg: "hello",
    to: 2,
    time: "2026-11-23 03:44:35",
    colour: { r: 1 },
  });
});

Deno.test("a v2 sender's message has for v1 all that classic clients read", () => {
  const one = JSON.parse(pushTextV1(message()));
  assertEquals([one.to, one.toid, typeof one.time], [2, 2, "string"]);
  const group = JSON.parse(pushTextV1(message({ toid: 0, groupid: 9, extra: "{}" })));
  assertEquals([group.msgid, group.groupid, "to" in group], [MSGID.GROUP_CHAT, 9, false]);
});

Deno.test("classic times are dates of the server's own time zone", () => {
  const at = new Date(2026, 0, 2, 3, 4, 5).getTime();
  assertEquals(classicTime(at), "2026-01-02 03:04:05");
  assertMatch(classicTime(Date.now()), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
});

Deno.test("a push is one line", () => {
  const m = message({ msg: "a\nb\r\u2028\u0000", extra: JSON.stringify({ to: 2, time: "\n" }) });
  for (const text of [pushTextV1(m), pushTextV2(m), historyText(m)]) {
    assert(!/[\n\r\0]/.test(text), JSON.stringify(text));
  }
});
