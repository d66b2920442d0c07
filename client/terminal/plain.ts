/**
 * The program as plain lines, for screen readers and dumb terminals: no cursor movement, no colours;
 * the terminal itself edits the line. What happens is said once, in words.
 */

import type { App } from "./app.ts";
import type { AppView, Outcome } from "../chat/app_view.ts";
import { parseLine } from "../chat/commands/commands.ts";
import { conversationOf } from "../chat/conversation.ts";
import { keyOf, titleOf } from "../chat/directory.ts";
import type { ClientEvent, Message } from "../library/events.ts";
import type { Input } from "./input/keys.ts";
import type { Line } from "../chat/lines.ts";
import { clock } from "./screen/message_rows.ts";
import type { Action } from "../chat/reducer.ts";
import { currentOf, type State } from "../chat/state.ts";
import type { Ask } from "./input/prompt.ts";
import type { TerminalInput } from "./input/terminal_input.ts";
import { safe, safeLine } from "../chat/safe_text.ts";

/** Messages said when a conversation is opened. */
const OPENING_LINES = 20;

/** What the plain view needs. */
export interface PlainOptions {
  readonly input: TerminalInput;
  /** Prints one line. */
  readonly print: (line: string) => void;
  /** Asks on a line without echo. */
  readonly ask: Ask;
  readonly end: (outcome: Outcome) => void;
  /** Rings the terminal's bell. */
  readonly ring: () => void;
}

/** The lines of one {@linkcode App}. */
export class Plain implements AppView {
  readonly #options: PlainOptions;
  #app: App | undefined;
  #typed = "";
  #leaving = false;
  /** Conversation whose latest page is to be said when it comes. */
  #opening: string | undefined;

  constructor(options: PlainOptions) {
    this.#options = options;
  }

  /** Takes the keyboard, line by line. */
  start(app: App): void {
    this.#app = app;
    const { input, print } = this.#options;
    print("Type /help for commands, /open NAME to talk, Ctrl-D to leave.");
    input.raw(false);
    this.#listen(app);
  }

  #listen(app: App): void {
    this.#options.input.take(
      (event) => this.#onInput(app, event),
      () => this.#options.end("quit"),
    );
  }

  async askSecret(question: string): Promise<string | undefined> {
    const { input, ask } = this.#options;
    input.raw(true);
    const answer = await ask(question, { secret: true });
    input.raw(false);
    if (this.#app !== undefined) this.#listen(this.#app);
    return answer;
  }

  /** Gives it back. */
  stop(): void {
    this.#options.input.release();
  }

  /** Ctrl-C: the terminal has emptied the line already; a second one leaves. */
  interrupted(): void {
    this.#typed = "";
    // Its echo, ^C, stands where the next line is to begin.
    this.#options.print("");
    if (this.#leaving) return this.#options.end("quit");
    this.#leaving = true;
    this.#options.print("Ctrl-C again to leave.");
  }

  changed(action: Action, before: State): void {
    const state = this.#app?.state;
    if (state === undefined) return;
    switch (action.type) {
      case "event":
        return this.#event(action.event, before, state);
      case "notice":
        return this.#say(action.text);
      case "queued":
        if (state.link.state !== "online") this.#say("queued until the server is back");
        return;
      case "open":
        return this.#opened(state);
      case "page": {
        const key = keyOf(action.target);
        if (!action.older && this.#opening !== key) return;
        if (!action.older) this.#opening = undefined;
        const shown = action.older ? action.messages : action.messages.slice(-OPENING_LINES);
        for (const message of shown) this.#message(state, message);
        if (action.messages.length === 0) this.#say("no messages yet");
        return;
      }
      default:
    }
  }

  alert(): void {
    // The message itself is said with the others.
    if (this.#app?.options.bell === true) this.#options.ring();
  }

  giveBack(): void {
    // The terminal's own line cannot be given back; the error says what happened.
  }

  end(outcome: Outcome): void {
    this.#options.end(outcome);
  }

  #onInput(app: App, input: Input): void {
    if (input.kind === "paste") this.#typed += input.text;
    if (input.kind !== "key") return;
    if (input.name !== "return" && input.name !== "enter") {
      this.#typed += input.text;
      return;
    }
    const line = this.#typed;
    this.#typed = "";
    this.#leaving = false;
    const talking = currentOf(app.state) !== undefined;
    const parsed = parseLine(line, { mode: "interactive", talking });
    if (parsed === undefined) return;
    // `run` tells of failures itself; it rejects only on a defect, which ends the program.
    if (parsed.ok) void app.run(parsed.invocation);
    else this.#say(parsed.error);
  }

  #opened(state: State): void {
    const current = currentOf(state);
    if (current === undefined) return this.#say("at home; /who lists friends and groups");
    const { target } = current;
    const person = target.kind === "user" ? state.directory.people.get(target.id) : undefined;
    const online = person?.online;
    const presence = online === undefined ? "" : online ? ", online" : ", offline";
    this.#say(`talking to ${titleOf(state.directory, target)}${presence}`);
    if (current.loaded !== "yes") this.#opening = current.key;
    else for (const line of current.lines.slice(-OPENING_LINES)) this.#line(line);
  }

  #event(event: ClientEvent, before: State, state: State): void {
    switch (event.type) {
      case "message": {
        const key = keyOf(conversationOf(event.message, state.me?.id ?? 0));
        const isNew = before.conversations.get(key)?.lines !== state.conversations.get(key)?.lines;
        if (isNew && event.message.id !== state.me?.id) this.#message(state, event.message);
        return;
      }
      case "failed":
        // Elsewhere it becomes a notice.
        if (keyOf(event.target) !== state.current) return;
        return this.#say(`not sent: ${event.errmsg}: ${event.msg}`);
      case "presence": {
        const person = state.directory.people.get(event.id);
        const was = before.directory.people.get(event.id);
        if (person?.friend !== true || was?.online === person.online) return;
        return this.#say(`${person.name} is ${person.online ? "online" : "offline"}`);
      }
      case "connection":
        if (event.state === "online") return this.#say("online");
        // Without a reason it is the user's own doing: nothing to be told of.
        if (event.state === "offline" && event.reason !== "") {
          return this.#say(`offline: ${event.reason}`);
        }
        // Said once, not at every attempt.
        if (event.state === "waiting" && before.link.state === "online") {
          return this.#say(`offline: ${event.reason}; trying again`);
        }
        return;
      default:
    }
  }

  #message(state: State, message: Message): void {
    const target = conversationOf(message, state.me?.id ?? 0);
    const place = target.kind === "group" ? `${titleOf(state.directory, target)}, ` : "";
    this.#say(`${clock(message.ts)} ${place}${safeLine(message.name)}: ${message.msg}`);
  }

  #line(line: Line): void {
    if (line.kind === "message") this.#say(`${clock(line.ts)} ${line.name}: ${line.text}`);
  }

  #say(text: string): void {
    for (const line of safe(text).split("\n")) this.#options.print(line);
  }
}
