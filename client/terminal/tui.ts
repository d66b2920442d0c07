/**
 * The program on a full screen: keys to commands, state to frames. What is being typed is the input
 * line's, how far one has scrolled the viewport's.
 *
 * Invariant: the terminal is given back as it was, however the program ends.
 */

import type { App } from "./app.ts";
import type { AppView, Outcome } from "../chat/app_view.ts";
import type { Clock } from "../library/clock.ts";
import { parseLine } from "../chat/commands/commands.ts";
import { FramePacer } from "./screen/frame_pacer.ts";
import type { InputHistory } from "./input/input_history.ts";
import { InputLine } from "./input/input_line.ts";
import type { Input, Key } from "./input/keys.ts";
import { layout, messageHeight, type View } from "./screen/layout.ts";
import type { Screen, Terminal } from "./screen/screen.ts";
import type { Action } from "../chat/reducer.ts";
import { SecretPrompt } from "./input/secret_prompt.ts";
import { currentOf, firstUnread, neighbour, type State } from "../chat/state.ts";
import type { TerminalInput } from "./input/terminal_input.ts";
import { Viewport } from "./screen/viewport.ts";

/** Countdowns and typing notices are looked at this often, in ms. */
const TICK_MS = 1_000;
/** Bells are at least so far apart, in ms. */
const BELL_MS = 2_000;

/** What the full-screen view needs. */
export interface TuiOptions {
  readonly input: TerminalInput;
  readonly screen: Screen;
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly history: InputHistory;
  /** What is in the input line at first. */
  readonly draft: string;
  readonly end: (outcome: Outcome) => void;
}

/** The full screen of one {@linkcode App}. */
export class Tui implements AppView {
  readonly #options: TuiOptions;
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #frames: FramePacer;
  readonly #secret = new SecretPrompt();
  readonly #line: InputLine;
  readonly #viewport = new Viewport();
  #app: App | undefined;
  #cancelTick: (() => void) | undefined;
  #rungAt = 0;
  #running = false;

  constructor(options: TuiOptions) {
    this.#options = options;
    this.#screen = options.screen;
    this.#clock = options.clock;
    this.#frames = new FramePacer(options.clock, () => this.#draw());
    this.#line = new InputLine(options.history.entries, options.draft);
  }

  /** What is in the input line. */
  get draft(): string {
    return this.#line.editor.text;
  }

  /** Takes the screen and the keyboard. */
  start(app: App): void {
    this.#app = app;
    this.#running = true;
    this.#screen.enter();
    this.#options.input.take((input) => this.#onInput(input), () => {
      this.#options.end("SIGHUP");
    });
    this.#tick();
    this.#frames.now();
  }

  /** Gives them back. Idempotent. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#cancelTick?.();
    this.#frames.stop();
    this.#options.input.release();
    // A frame that is still being written would else land on the terminal that was given back.
    await this.#screen.settled();
    this.#screen.leave();
  }

  /** The window has another size, or something else has drawn on it. */
  resized(): void {
    this.#screen.forget();
    this.#redraw();
  }

  changed(action: Action, before: State): void {
    const state = this.#app?.state;
    // A second that has passed shows in a countdown only.
    if (action.type === "tick" && state === before && before.link.state !== "waiting") return;
    if (state !== undefined && state.current !== before.current) {
      this.#viewport.toEnd();
      this.#line.endCompletion();
    }
    // What was asked for is shown, also to one who had scrolled up.
    if (action.type === "notice" || action.type === "queued") this.#viewport.toEnd();
    const isAtEnd = this.#viewport.anchor === undefined;
    if (state?.atBottom === false && isAtEnd && action.type !== "scrolled") {
      this.#app?.dispatch({ type: "scrolled", atBottom: true });
    }
    this.#redraw();
  }

  alert(title: string, text: string): void {
    const app = this.#app;
    if (app === undefined) return;
    const now = this.#clock.now();
    const { bell, notify } = app.options;
    const wanted = notify && !app.state.focused;
    const rings = bell && now - this.#rungAt >= BELL_MS;
    if (!rings && !wanted) return;
    if (rings) this.#rungAt = now;
    this.#screen.notify(rings, wanted ? `${title}: ${text}` : undefined);
  }

  askSecret(question: string): Promise<string | undefined> {
    const answer = this.#secret.ask(question);
    this.#redraw();
    return answer;
  }

  giveBack(text: string): void {
    this.#line.giveBack(text);
    this.#redraw();
  }

  end(outcome: Outcome): void {
    this.#options.end(outcome);
  }

  // ── input ─────────────────────────────────────────────────────────────────────────────────

  #onInput(input: Input): void {
    const app = this.#app;
    if (app === undefined) return;
    if (this.#secret.question !== undefined && input.kind !== "focus") {
      this.#secret.take(input);
      this.#redraw();
      return;
    }
    switch (input.kind) {
      case "focus":
        app.dispatch({ type: "focus", focused: input.focused });
        return;
      case "paste":
        if (this.#line.paste(input.text)) app.typing();
        break;
      case "key":
        this.#onKey(app, input);
        break;
      default:
        input satisfies never;
    }
    this.#redraw();
  }

  #onKey(app: App, key: Key): void {
    const pressed = this.#line.press(key, app.state);
    switch (pressed) {
      case "typed":
        return app.typing();
      case "edited":
        return;
      case "leave":
        return this.#options.end("quit");
      case "unused":
        return this.#command(app, key);
      default:
        return this.#submit(app, pressed.submit);
    }
  }

  #submit(app: App, text: string): void {
    const parsed = parseLine(text, {
      mode: "interactive",
      talking: currentOf(app.state) !== undefined,
    });
    if (parsed === undefined) return;
    if (!parsed.ok) {
      // The line stays, to be put right.
      app.dispatch({ type: "notice", text: parsed.error, tone: "error", now: this.#clock.now() });
      return;
    }
    this.#line.accept();
    this.#options.history.add(text).catch((error: unknown) => this.#historyFailed(error));
    // `run` tells of failures itself; it rejects only on a defect, which ends the program.
    void app.run(parsed.invocation);
  }

  #historyFailed(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    const text = `the input history could not be saved: ${why}`;
    this.#app?.dispatch({ type: "notice", text, tone: "error", now: this.#clock.now() });
  }

  #command(app: App, key: Key): void {
    const { state } = app;
    if (key.ctrl && key.name === "d") return this.#options.end("quit");
    if (key.ctrl && key.name === "l") return this.#screen.forget();
    if (key.name === "pageup") return this.#scroll(app, 1);
    if (key.name === "pagedown") return this.#scroll(app, -1);
    if (!key.meta) return;
    if (/^[0-9]$/.test(key.name)) {
      const number = Number(key.name);
      const target = number === 0 ? undefined : state.order[number - 1];
      if (number === 0 || target !== undefined) app.openKey(target);
    } else if (key.name === "right") app.openKey(neighbour(state, 1));
    else if (key.name === "left") app.openKey(neighbour(state, -1));
    else if (key.name === "a") {
      const unread = firstUnread(state);
      if (unread !== undefined) app.openKey(unread);
    }
  }

  // ── scrolling and drawing ─────────────────────────────────────────────────────────────────

  #scroll(app: App, pages: 1 | -1): void {
    const { state } = app;
    const size = this.#options.terminal.size();
    const height = messageHeight(state, this.#view(app), size);
    const scrolled = this.#viewport.scroll(state, pages, height, size.columns);
    if (scrolled === undefined) return;
    app.dispatch({ type: "scrolled", atBottom: scrolled.atBottom });
    if (scrolled.wantsOlder) app.older();
  }

  #view(app: App): View {
    return {
      editor: this.#line.editor,
      anchor: this.#viewport.anchor,
      homeUp: this.#viewport.homeUp,
      hint: this.#line.hint,
      question: this.#secret.question,
      server: app.server,
    };
  }

  #tick(): void {
    this.#cancelTick = this.#clock.after(TICK_MS, () => {
      this.#app?.dispatch({ type: "tick", now: this.#clock.now() });
      this.#tick();
    });
  }

  #redraw(): void {
    if (this.#running) this.#frames.request();
  }

  #draw(): void {
    const app = this.#app;
    if (app === undefined || !this.#running) return;
    const size = this.#options.terminal.size();
    this.#screen.draw(layout(app.state, this.#view(app), size, this.#clock.now()));
  }
}
