import { assertEquals } from "@std/assert";
import { MAX_UNITS } from "../../client/terminal/input/editor.ts";
import { InputLine } from "../../client/terminal/input/input_line.ts";
import type { Key } from "../../client/terminal/input/keys.ts";
import { reduce } from "../../client/chat/reducer.ts";
import { INITIAL } from "../../client/chat/state.ts";

const key = (name: string, more: Partial<Key> = {}): Key => ({
  kind: "key",
  name,
  ctrl: false,
  meta: false,
  shift: false,
  text: "",
  ...more,
});
const char = (text: string) => key(text, { text });
const TAB = key("tab");
const INTERRUPT = key("c", { ctrl: true });

const friend = (id: number, name: string) => ({ id, name, state: "online" as const });
const session = {
  id: 1,
  name: "alice",
  friends: [friend(2, "bob"), friend(3, "bert")],
  groups: [],
  token: "t",
  node: "n",
};
const STATE = reduce(INITIAL, {
  type: "event",
  event: { type: "session", session, resumed: false },
  now: 0,
});

Deno.test("an author types while a message changes, not while a command or a search does", () => {
  const line = new InputLine(["an earlier one"], "");

  const message = [line.press(char("h"), STATE), line.press(key("left"), STATE)];
  const cut = line.press(key("u", { ctrl: true }), STATE);
  const command = line.press(char("/"), STATE);
  line.press(INTERRUPT, STATE);
  const search = [line.press(key("r", { ctrl: true }), STATE), line.press(char("a"), STATE)];

  assertEquals(message, ["typed", "edited"]);
  assertEquals([cut, command, ...search], ["edited", "edited", "edited", "edited"]);
  assertEquals(line.editor.text, "an earlier one");
});

Deno.test("Ctrl-C empties the line, asks on an empty one, and any other key stays", () => {
  const line = new InputLine([], "half a sent");

  const cleared = [line.press(INTERRUPT, STATE), line.editor.text, line.hint];
  const asked = [line.press(INTERRUPT, STATE), line.hint === undefined];
  const stayed = [line.press(char("x"), STATE), line.hint];
  line.press(INTERRUPT, STATE);
  const again = [line.press(INTERRUPT, STATE), line.press(INTERRUPT, STATE)];

  assertEquals(cleared, ["edited", "", undefined]);
  assertEquals(asked, ["edited", false]);
  assertEquals(stayed, ["typed", undefined]);
  assertEquals(again, ["edited", "leave"]);
});

Deno.test("what was submitted stays until it is accepted", () => {
  const line = new InputLine([], "hello");

  const pressed = line.press(key("return"), STATE);
  const kept = line.editor.text;
  line.accept();

  assertEquals([pressed, kept], [{ submit: "hello" }, "hello"]);
  assertEquals([line.editor.text, line.editor.history], ["", ["hello"]]);
});

Deno.test("a paste without room changes nothing and says why", () => {
  const line = new InputLine([], "a");

  const taken = [line.paste("b".repeat(MAX_UNITS)), line.paste("b".repeat(MAX_UNITS - 1))];

  assertEquals(taken, [false, true]);
  assertEquals(line.editor.text.length, MAX_UNITS);
});

Deno.test("a completion goes on from Tab to Tab until another key or another conversation", () => {
  const line = new InputLine([], "/msg b");

  const hints = [];
  for (let n = 0; n < 3; n++) {
    line.press(TAB, STATE);
    hints.push(line.hint);
  }
  line.endCompletion();
  line.press(TAB, STATE);
  const afterwards = line.hint;

  assertEquals(hints, ["bert  bob", "[bert]  bob", "bert  [bob]"]);
  assertEquals([afterwards, line.editor.text], [undefined, "/msg bob "]);
});

Deno.test("a text that could not be sent comes back, but into an empty line only", () => {
  const line = new InputLine([], "");

  line.giveBack("lost");
  line.giveBack("lost again");

  assertEquals(line.editor.text, "lost");
});
