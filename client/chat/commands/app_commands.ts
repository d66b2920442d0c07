/**
 * What the user does in the interactive program: each command of the table, and typing. It reads no
 * line and shows nothing: that is for the views.
 *
 * Invariants: what a command has to tell becomes a notice; a text that could not be queued goes back
 * to where it was written.
 */

import { type AppView, type Kept, OPTIONS } from "../app_view.ts";
import type { Client } from "../../library/client.ts";
import type { Clock } from "../../library/clock.ts";
import { type Done, type Invocation, isRequest, perform } from "./command_table.ts";
import { asGroup, helpLines } from "./commands.ts";
import { keyOf, resolve, titleOf } from "../directory.ts";
import { ConnectionLost } from "../../library/errors.ts";
import type { Target } from "../../library/events.ts";
import type { Model } from "../model.ts";
import { inWords } from "../event_json.ts";
import { currentOf, firstUnread, neighbour } from "../state.ts";

/** TYPING is sent at most this often, in ms. */
const TYPING_EVERY_MS = 3_000;
/** How long unsent messages may hold up a logout, in ms. */
const LOGOUT_FLUSH_MS = 2_000;

/** What {@linkcode AppCommands} need. */
export interface AppCommandsOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly view: AppView;
  readonly model: Model;
  readonly autosave: Kept;
}

/** The commands of one run. */
export class AppCommands {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #view: AppView;
  readonly #model: Model;
  readonly #autosave: Kept;
  #typedAt = 0;
  #isDeleting = false;

  constructor({ client, clock, view, model, autosave }: AppCommandsOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#view = view;
    this.#model = model;
    this.#autosave = autosave;
  }

  /** The session is about to end because the user wants it. */
  get isDeleting(): boolean {
    return this.#isDeleting;
  }

  /** Runs a command. What it has to tell becomes a notice. */
  async run(invocation: Invocation): Promise<void> {
    try {
      await this.#run(invocation);
    } catch (error) {
      this.#model.notice(inWords(error).error, "error");
    }
  }

  /** The user types a message: the others may know. */
  typing(): void {
    const current = currentOf(this.#model.state);
    const now = this.#clock.now();
    if (current === undefined || !this.#autosave.data.typing) return;
    if (now - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = now;
    this.#client.typing(current.target);
  }

  async #run(invocation: Invocation): Promise<void> {
    const client = this.#client;
    if (isRequest(invocation)) return this.#done(await perform(client, invocation));
    switch (invocation.command) {
      case "say": {
        const target = currentOf(this.#model.state)?.target;
        if (target !== undefined) return await this.#send(target, invocation.args.text);
        this.#view.giveBack(invocation.args.text);
        return this.#model.notice(
          "Nobody to talk to here: /open NAME first, or /msg NAME TEXT.",
          "error",
        );
      }
      case "msg":
        return await this.#sendTo(invocation.args.who, invocation.args.text);
      case "chat":
        return await this.#sendTo(invocation.args.id, invocation.args.text);
      case "groupchat": {
        const { group, text } = invocation.args;
        return await this.#sendTo(asGroup(group), text);
      }
      case "open": {
        const { who } = invocation.args;
        if (who === undefined) return this.#model.open(undefined);
        const target = this.#target(who);
        if (target !== undefined) this.#model.open(target);
        return;
      }
      case "who":
        return this.#who(invocation.args.who);
      case "history": {
        const { who } = invocation.args;
        const target = who === undefined ? currentOf(this.#model.state)?.target : this.#target(who);
        if (target === undefined) return;
        if (keyOf(target) !== this.#model.state.current) return this.#model.open(target);
        return this.#model.older();
      }
      case "next":
        return this.#model.openKey(neighbour(this.#model.state, 1));
      case "prev":
        return this.#model.openKey(neighbour(this.#model.state, -1));
      case "unread": {
        const key = firstUnread(this.#model.state);
        return key === undefined
          ? this.#model.notice("Nothing is unread.")
          : this.#model.openKey(key);
      }
      case "close": {
        const current = currentOf(this.#model.state);
        if (current !== undefined) this.#model.dispatch({ type: "close", key: current.key });
        return this.#autosave.soon();
      }
      case "set":
        return this.#set(invocation.args.option, invocation.args.value);
      case "clear":
        return this.#model.dispatch({ type: "clear" });
      case "reconnect":
        return client.reconnect();
      case "passwd":
        return await this.#changePassword();
      case "deleteaccount": {
        const { name = "" } = this.#model.state.me ?? {};
        const question = `Delete the account ${name} for ever? Its password: `;
        const password = await this.#view.askSecret(question);
        if (password === undefined || password === "") return;
        return await this.#deleteAccount(password);
      }
      case "logout":
        await this.#logOut();
        this.#autosave.forgetToken();
        return this.#view.end("logout");
      case "quit":
        return this.#view.end("quit");
      case "help":
        return this.#model.notice(helpLines("interactive", invocation.args.command).join("\n"));
      case "register":
      case "login":
      case "sync":
      case "wait":
      case "waitfor":
      case "listen":
        return this.#model.notice(`/${invocation.command} works in scripts only.`, "error");
      default:
        return invocation satisfies never;
    }
  }

  #done({ notice, open }: Done): void {
    if (open !== undefined) this.#model.open(open);
    if (notice !== undefined) this.#model.notice(notice);
  }

  /** Without a server the token is forgotten here; there it expires by itself. */
  async #logOut(): Promise<void> {
    if (this.#client.state !== "online") return;
    await this.#client.drained(LOGOUT_FLUSH_MS);
    try {
      await this.#client.logout();
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  async #deleteAccount(password: string): Promise<void> {
    this.#isDeleting = true;
    try {
      await this.#client.deleteAccount(password);
      this.#view.end("deleted");
    } finally {
      this.#isDeleting = false;
    }
  }

  async #changePassword(): Promise<void> {
    const ask = (question: string) => this.#view.askSecret(question);
    const old = await ask("The old password: ");
    const fresh = old === undefined ? undefined : await ask("The new password: ");
    if (fresh === "") return this.#model.notice("The new password is empty.", "error");
    const again = fresh === undefined ? undefined : await ask("The new password once more: ");
    if (old === undefined || fresh === undefined || again === undefined) return;
    if (fresh !== again) return this.#model.notice("The two passwords differ.", "error");
    await this.#client.changePassword(old, fresh);
    this.#model.notice("The password is changed. Everywhere else it is asked for again.");
  }

  async #sendTo(who: string, text: string): Promise<void> {
    const target = this.#target(who);
    if (target !== undefined) await this.#send(target, text);
  }

  async #send(target: Target, text: string): Promise<void> {
    try {
      const { cid } = await this.#client.send(target, text);
      this.#model.dispatch({ type: "queued", cid, target, msg: text, now: this.#clock.now() });
    } catch (error) {
      this.#view.giveBack(text);
      throw error;
    }
    this.#typedAt = 0;
    if (keyOf(target) !== this.#model.state.current) {
      this.#model.notice(`to ${titleOf(this.#model.state.directory, target)}: ${text}`);
    }
  }

  #target(text: string): Target | undefined {
    const target = resolve(this.#model.state.directory, text);
    if (target === undefined) {
      const what = text.startsWith("#") ? "/join enters a group" : "/add NAME makes a friend";
      this.#model.notice(
        `${text} is no friend, fellow member or group of yours. ${what}.`,
        "error",
      );
    }
    return target;
  }

  #who(text: string | undefined): void {
    const { directory: { people, rooms }, link } = this.#model.state;
    const shown = (id: number) => {
      const person = people.get(id);
      if (person === undefined) return `user ${id}`;
      // While the server is away nobody's presence is known.
      const mark = link.state !== "online" ? "" : person.online ? "● " : "○ ";
      return `${mark}${person.name}`;
    };
    if (text === undefined && this.#model.state.current === undefined) {
      const friends = [...people.values()].filter((person) => person.friend);
      const groups = [...rooms.values()].map((room) => `#${room.name} (${room.id})`);
      this.#model.notice(`friends: ${friends.map((f) => `${shown(f.id)} (${f.id})`).join("  ")}`);
      return this.#model.notice(`groups: ${groups.join("  ")}`);
    }
    const target = text === undefined ? currentOf(this.#model.state)?.target : this.#target(text);
    if (target === undefined) return;
    if (target.kind === "user") return this.#model.notice(`${shown(target.id)} (${target.id})`);
    const room = rooms.get(target.id);
    if (room === undefined) return this.#model.notice("You are not in that group.", "error");
    this.#model.notice(`#${room.name} (${room.id}) ${room.desc}`);
    this.#model.notice(room.members.map(shown).join("  "));
  }

  #set(option: string | undefined, value: string | undefined): void {
    const name = OPTIONS.find((known) => known === option);
    if (name === undefined || (value !== "on" && value !== "off")) {
      const now = OPTIONS.map((known) => `${known} ${this.#autosave.data[known] ? "on" : "off"}`);
      return this.#model.notice(`/set ${OPTIONS.join("|")} on|off. Now: ${now.join(", ")}`);
    }
    this.#autosave.set({ [name]: value === "on" });
    this.#autosave.soon();
    this.#model.notice(`${name} is ${value} now.`);
  }
}
