/**
 * Questions on a terminal, one line each: with an echo, or without one for passwords.
 * It works on any terminal: it moves the cursor by backspace only.
 */

import type { Key } from "./keys.ts";
import type { TerminalInput } from "./terminal_input.ts";
import { graphemes, safeLine } from "../../chat/safe_text.ts";
import { width } from "../text.ts";

/** Asks; undefined when the user leaves with Ctrl-C or Ctrl-D. */
export type Ask = (question: string, options?: { readonly secret?: boolean }) => Promise<
  string | undefined
>;

/** Questions over one terminal. */
export function asker(input: TerminalInput, write: (text: string) => void): Ask {
  return async (question, { secret = false } = {}) => {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    let typed = "";
    // What follows an answer, be it in the same read, is not for this question.
    const end = (answer: string | undefined) => {
      input.release();
      resolve(answer);
    };
    const add = (text: string) => {
      // A pasted password may end in a newline that is not part of it.
      const first = text.split("\n", 1)[0] ?? "";
      const line = secret ? first : safeLine(first);
      typed += line;
      if (!secret) write(line);
    };
    const erase = () => {
      const last = graphemes(typed).at(-1);
      if (last === undefined) return;
      typed = typed.slice(0, -last.length);
      if (!secret) write("\b \b".repeat(width(last)));
    };
    const onKey = (key: Key) => {
      if (key.text !== "") return add(key.text);
      if (key.name === "return" || key.name === "enter") return end(typed);
      if (key.name === "backspace" || (key.ctrl && key.name === "h")) return erase();
      if (key.ctrl && key.name === "u") { while (typed !== "") erase(); }
      if (key.ctrl && key.name === "c") return end(undefined);
      if (key.ctrl && key.name === "d" && typed === "") return end(undefined);
    };
    write(question);
    input.take((event) => {
      if (event.kind === "key") onKey(event);
      if (event.kind === "paste") add(event.text);
    }, () => end(undefined));
    const answer = await promise;
    write("\r\n");
    return answer;
  };
}
