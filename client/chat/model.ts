/**
 * The state of one run as its view sees it: every change goes through here, and what is looked at is
 * loaded. It runs no commands and saves nothing.
 *
 * Invariants: the view is told after every action; an earlier page is asked for once until it has
 * come or failed.
 */

import type { AppView, Kept } from "./app_view.ts";
import type { Client } from "../library/client.ts";
import type { Clock } from "../library/clock.ts";
import { oldestMid } from "./conversation.ts";
import { targetOfKey } from "./directory.ts";
import type { Target } from "../library/events.ts";
import { type Action, reduce } from "./reducer.ts";
import { inWords } from "./event_json.ts";
import { currentOf, INITIAL, type State } from "./state.ts";

/** Messages in a page of history. */
const PAGE = 50;

/** What a {@linkcode Model} needs. */
export interface ModelOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly view: AppView;
  /** Remembers which conversations are open. */
  readonly autosave: Kept;
}

/** The state of one run. */
export class Model {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #view: AppView;
  readonly #autosave: Kept;
  #state: State = INITIAL;

  constructor({ client, clock, view, autosave }: ModelOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#view = view;
    this.#autosave = autosave;
  }

  /** What is known now. */
  get state(): State {
    return this.#state;
  }

  /** Changes the state. */
  dispatch(action: Action): void {
    const before = this.#state;
    this.#state = reduce(before, action);
    this.#view.changed(action, before);
  }

  /** Tells the user something. */
  notice(text: string, tone: "info" | "error" = "info"): void {
    this.dispatch({ type: "notice", text, tone, now: this.#clock.now() });
  }

  /** Looks at a conversation, or at home. */
  open(target: Target | undefined): void {
    this.dispatch({ type: "open", target });
    if (target === undefined) return;
    if (currentOf(this.#state)?.loaded === "no") this.loadLatest(target);
    this.#autosave.soon();
  }

  /** Looks at the conversation with a key; undefined is home. */
  openKey(key: string | undefined): void {
    if (key === undefined) return this.open(undefined);
    const target = targetOfKey(key);
    if (target !== undefined) this.open(target);
  }

  /** Loads the page before the oldest message of the current conversation, once. */
  older(): void {
    const current = currentOf(this.#state);
    if (current === undefined || !current.more || current.loadingOlder) return;
    const before = oldestMid(current.lines);
    if (before === undefined) return this.loadLatest(current.target);
    this.#load(current.target, before);
  }

  /** Loads the latest page of a conversation. */
  loadLatest(target: Target): void {
    this.#load(target, undefined);
  }

  #load(target: Target, before: string | undefined): void {
    const older = before !== undefined;
    this.dispatch({ type: "page_asked", target, older });
    this.#client.history(target, { before, limit: PAGE }).then(
      ({ messages, more }) => this.dispatch({ type: "page", target, older, messages, more }),
      (error) => {
        this.dispatch({ type: "page_failed", target, older });
        // While offline it is asked for again after the next login.
        if (this.#state.link.state === "online") this.notice(inWords(error).error, "error");
      },
    );
  }
}
