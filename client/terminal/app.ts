/**
 * The interactive program without its terminal: one run's state, commands and profile, put together
 * for the views (full screen, plain lines), which show the state and call what people do. What is here
 * besides is what an event of the client means to a run: what is saved, loaded, alerted, ended.
 */

import { AppCommands } from "../chat/commands/app_commands.ts";
import type { AppView } from "../chat/app_view.ts";
import { Autosave } from "../profile/autosave.ts";
import type { Client } from "../library/client.ts";
import type { Clock } from "../library/clock.ts";
import type { Invocation } from "../chat/commands/command_table.ts";
import { conversationOf, isPersonal } from "../chat/conversation.ts";
import { keyOf, titleOf } from "../chat/directory.ts";
import type { ClientEvent, Message } from "../library/events.ts";
import { messageLine } from "../chat/lines.ts";
import { Model } from "../chat/model.ts";
import type { Profile, ProfileData } from "../profile/profile.ts";
import type { Action } from "../chat/reducer.ts";
import { currentOf, type State } from "../chat/state.ts";
import { safeLine } from "../chat/safe_text.ts";
import { truncate } from "./text.ts";

/** Longest text of a notification, or of a message that was not sent, in columns. */
const ALERT_COLUMNS = 120;

/** What an {@linkcode App} needs. */
export interface AppOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly profile: Profile;
  readonly saved: ProfileData;
  readonly view: AppView;
}

/** One run of the interactive program for one user. */
export class App {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #view: AppView;
  readonly #autosave: Autosave;
  readonly #model: Model;
  readonly #commands: AppCommands;

  constructor({ client, clock, profile, saved, view }: AppOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#view = view;
    const autosave = new Autosave({
      clock,
      profile,
      saved,
      state: () => this.#model.state,
      onError: (text) => this.#model.notice(text, "error"),
    });
    const model = new Model({ client, clock, view, autosave });
    this.#autosave = autosave;
    this.#model = model;
    this.#commands = new AppCommands({ client, clock, view, model, autosave });
  }

  /** What is known now. */
  get state(): State {
    return this.#model.state;
  }

  /** `host:port`. */
  get server(): string {
    const { host, port } = this.#autosave.data;
    return `${host}:${port}`;
  }

  /** Options that the user has set. */
  get options(): Pick<ProfileData, "bell" | "notify" | "typing"> {
    return this.#autosave.data;
  }

  /** Begins with what the profile remembers and the outbox holds. */
  start(): void {
    const { id, name, friends, groups, open, unread } = this.#autosave.data;
    this.dispatch({ type: "remembered", me: { id, name }, friends, groups, open, unread });
    const unsent = this.#client.unsent.filter((chat) => chat.from === id);
    this.dispatch({ type: "restored", unsent });
  }

  /** Changes the state. */
  dispatch(action: Action): void {
    this.#model.dispatch(action);
  }

  /** Takes an event of the client. */
  onEvent(event: ClientEvent): void {
    const now = this.#clock.now();
    if (event.type === "message") this.#alert(event.message);
    this.dispatch({ type: "event", event, now });
    if (event.type === "failed") this.#tellOfFailure(event);
    if (event.type === "session" || event.type === "session_changed") {
      const { id, name, token } = event.session;
      this.#autosave.set({ id, name, token });
      // Saved at once: the token before it may be void now.
      this.#autosave.now();
    }
    if (event.type === "session") {
      const current = currentOf(this.state);
      if (current !== undefined) this.#model.loadLatest(current.target);
    } else if (event.type === "message") {
      this.#autosave.soon();
    } else if (
      event.type === "connection" && event.loginNeeded === true &&
      // The event may have waited for this run to begin.
      this.#client.loginNeeded && !this.#commands.isDeleting
    ) {
      this.#view.end("login_needed");
    }
  }

  /** Runs a command. What it has to tell becomes a notice. */
  async run(invocation: Invocation): Promise<void> {
    await this.#commands.run(invocation);
  }

  /** Looks at the conversation with a key; undefined is home. */
  openKey(key: string | undefined): void {
    this.#model.openKey(key);
  }

  /** Loads the page before the oldest message of the current conversation, once. */
  older(): void {
    this.#model.older();
  }

  /** The user types a message: the others may know. */
  typing(): void {
    this.#commands.typing();
  }

  /** Saves what is to be remembered. */
  async close(): Promise<void> {
    await this.#autosave.close();
  }

  /** Whoever looks at the conversation sees it there. */
  #tellOfFailure({ target, errmsg, msg }: Extract<ClientEvent, { type: "failed" }>): void {
    if (keyOf(target) === this.state.current) return;
    const to = titleOf(this.state.directory, target);
    const text = truncate(safeLine(msg), ALERT_COLUMNS);
    this.#model.notice(`not sent to ${to}: ${errmsg}: ${text}`, "error");
  }

  #alert(message: Message): void {
    const { state } = this;
    const target = conversationOf(message, state.me?.id ?? 0);
    const line = messageLine(message, state.me, undefined);
    if (message.id === state.me?.id || !isPersonal(target, line)) return;
    const isSeen = state.focused && state.atBottom && state.current === keyOf(target);
    if (isSeen) return;
    const text = truncate(safeLine(message.msg), ALERT_COLUMNS);
    this.#view.alert(safeLine(message.name), text);
  }
}
