/**
 * The interactive program without its terminal: runs commands, keeps the state, remembers it in the
 * profile. Views (full screen, plain lines) show the state and call what people do.
 */

import type { Client } from "./client.ts";
import type { Clock } from "./clock.ts";
import type { Invocation } from "./command_table.ts";
import { asGroup, helpLines, idOrName } from "./commands.ts";
import { OPTIONS } from "./complete.ts";
import { conversationOf, isPersonal, oldestMid } from "./conversation.ts";
import { keyOf, resolve, targetOfKey, titleOf } from "./directory.ts";
import { ConnectionLost } from "./errors.ts";
import type { ClientEvent, Message, Target } from "./events.ts";
import { messageLine } from "./lines.ts";
import { type Profile, type ProfileData, withoutToken } from "./profile.ts";
import { inWords } from "./script_output.ts";
import { type Action, reduce } from "./reducer.ts";
import { currentOf, firstUnread, INITIAL, neighbour, type State } from "./state.ts";
import { safeLine, truncate } from "./text.ts";

/** Messages in a page of history. */
const PAGE = 50;
/** What changed is saved this much later, in ms, together with what changes until then. */
const SAVE_DELAY_MS = 1_000;
/** TYPING is sent at most this often, in ms. */
const TYPING_EVERY_MS = 3_000;
/** How long unsent messages may hold up a logout, in ms. */
const LOGOUT_FLUSH_MS = 2_000;
/** Longest text of a notification, in columns. */
const ALERT_COLUMNS = 120;

/** Why the program ends, or goes back to the login. */
export type Outcome = "quit" | "logout" | "login_needed" | "deleted" | "terminated";

/** What shows an {@linkcode App}. */
export interface AppView {
  /** After every action. */
  changed(action: Action, before: State): void;
  /** Something for the user came while they looked elsewhere. */
  alert(title: string, text: string): void;
  /** Asks for something that is not shown while it is typed; undefined when the user gives up. */
  askSecret(question: string): Promise<string | undefined>;
  /** A text that could not be queued goes back to where it was written. */
  giveBack(text: string): void;
  /** The program ends, or a login is needed. */
  end(outcome: Outcome): void;
}

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
  readonly #profile: Profile;
  readonly #view: AppView;
  #saved: ProfileData;
  #state: State = INITIAL;
  #cancelSave: (() => void) | undefined;
  #typedAt = 0;
  /** The session is about to end because the user wants it. */
  #isDeleting = false;

  constructor({ client, clock, profile, saved, view }: AppOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#profile = profile;
    this.#saved = saved;
    this.#view = view;
  }

  /** What is known now. */
  get state(): State {
    return this.#state;
  }

  /** `host:port`. */
  get server(): string {
    return `${this.#saved.host}:${this.#saved.port}`;
  }

  /** Options that the user has set. */
  get options(): Pick<ProfileData, "bell" | "notify" | "typing"> {
    return this.#saved;
  }

  /** Begins with what the profile remembers and the outbox holds. */
  start(): void {
    const { id, name, friends, groups, open, unread } = this.#saved;
    this.dispatch({ type: "remembered", me: { id, name }, friends, groups, open, unread });
    const unsent = this.#client.unsent.filter((chat) => chat.from === id);
    this.dispatch({ type: "restored", unsent });
  }

  /** Changes the state. */
  dispatch(action: Action): void {
    const before = this.#state;
    this.#state = reduce(before, action);
    this.#view.changed(action, before);
  }

  /** Takes an event of the client. */
  onEvent(event: ClientEvent): void {
    const now = this.#clock.now();
    if (event.type === "message") this.#alert(event.message);
    this.dispatch({ type: "event", event, now });
    if (event.type === "session") {
      const { id, name, token } = event.session;
      this.#saved = { ...this.#saved, id, name, token };
      // Saved at once: the token before it may be void now.
      this.#save();
      const current = currentOf(this.#state);
      if (current !== undefined) this.#loadLatest(current.target);
    } else if (event.type === "message") {
      this.#saveSoon();
    } else if (event.type === "connection" && event.loginNeeded === true && !this.#isDeleting) {
      this.#view.end("login_needed");
    }
  }

  /** Runs a command. What it has to tell becomes a notice. */
  async run(invocation: Invocation): Promise<void> {
    try {
      await this.#run(invocation);
    } catch (error) {
      this.#notice(inWords(error).error, "error");
    }
  }

  /** Looks at a conversation, or at home. */
  open(target: Target | undefined): void {
    this.dispatch({ type: "open", target });
    if (target === undefined) return;
    if (currentOf(this.#state)?.loaded === "no") this.#loadLatest(target);
    this.#saveSoon();
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
    if (before === undefined) return this.#loadLatest(current.target);
    this.#load(current.target, before);
  }

  /** The user types a message: the others may know. */
  typing(): void {
    const current = currentOf(this.#state);
    const now = this.#clock.now();
    if (current === undefined || !this.options.typing) return;
    if (now - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = now;
    this.#client.typing(current.target);
  }

  /** Saves what is to be remembered. */
  async close(): Promise<void> {
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    await this.#profile.save(this.#data());
  }

  async #run(invocation: Invocation): Promise<void> {
    const client = this.#client;
    switch (invocation.command) {
      case "say": {
        const target = currentOf(this.#state)?.target;
        if (target !== undefined) return await this.#send(target, invocation.args.text);
        this.#view.giveBack(invocation.args.text);
        return this.#notice(
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
        if (who === undefined) return this.open(undefined);
        const target = this.#target(who);
        if (target !== undefined) this.open(target);
        return;
      }
      case "add": {
        const friend = await client.addFriend(idOrName(invocation.args.person, "@"));
        this.dispatch({ type: "friend", friend });
        this.#saveSoon();
        return this.#notice(`${safeLine(friend.name)} is a friend now, and ${friend.state}.`);
      }
      case "create": {
        const group = await client.createGroup(invocation.args.name, invocation.args.desc ?? "");
        this.dispatch({ type: "group", group });
        this.open({ kind: "group", id: group.id });
        return this.#notice(`Group #${safeLine(group.groupname)} has the id ${group.id}.`);
      }
      case "join": {
        const group = await client.joinGroup(idOrName(invocation.args.group, "#"));
        this.dispatch({ type: "group", group });
        return this.open({ kind: "group", id: group.id });
      }
      case "who":
        return this.#who(invocation.args.who);
      case "history": {
        const { who } = invocation.args;
        const target = who === undefined ? currentOf(this.#state)?.target : this.#target(who);
        if (target === undefined) return;
        if (keyOf(target) !== this.#state.current) return this.open(target);
        return this.older();
      }
      case "next":
        return this.openKey(neighbour(this.#state, 1));
      case "prev":
        return this.openKey(neighbour(this.#state, -1));
      case "unread": {
        const key = firstUnread(this.#state);
        return key === undefined ? this.#notice("Nothing is unread.") : this.openKey(key);
      }
      case "close": {
        const current = currentOf(this.#state);
        if (current !== undefined) this.dispatch({ type: "close", key: current.key });
        return this.#saveSoon();
      }
      case "set":
        return this.#set(invocation.args.option, invocation.args.value);
      case "clear":
        return this.dispatch({ type: "clear" });
      case "reconnect":
        return client.reconnect();
      case "passwd":
        return await this.#changePassword();
      case "deleteaccount": {
        const { name = "" } = this.#state.me ?? {};
        const question = `Delete the account ${name} for ever? Its password: `;
        const password = await this.#view.askSecret(question);
        if (password === undefined || password === "") return;
        return await this.#deleteAccount(password);
      }
      case "logout":
        await this.#logOut();
        this.#saved = withoutToken(this.#saved);
        return this.#view.end("logout");
      case "quit":
        return this.#view.end("quit");
      case "help":
        return this.#notice(helpLines("interactive", invocation.args.command).join("\n"));
      case "register":
      case "login":
      case "sync":
      case "wait":
      case "waitfor":
      case "listen":
        return this.#notice(`/${invocation.command} works in scripts only.`, "error");
      default:
        return invocation satisfies never;
    }
  }

  /** Without a server the token is forgotten here; there it expires by itself. */
  async #logOut(): Promise<void> {
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
    const again = fresh === undefined ? undefined : await ask("The new password once more: ");
    if (old === undefined || fresh === undefined || again === undefined) return;
    if (fresh !== again) return this.#notice("The two passwords differ.", "error");
    await this.#client.changePassword(old, fresh);
    this.#notice("The password is changed. Everywhere else it is asked for again.");
  }

  async #sendTo(who: string, text: string): Promise<void> {
    const target = this.#target(who);
    if (target !== undefined) await this.#send(target, text);
  }

  async #send(target: Target, text: string): Promise<void> {
    try {
      const { cid } = await this.#client.send(target, text);
      this.dispatch({ type: "queued", cid, target, msg: text, now: this.#clock.now() });
    } catch (error) {
      this.#view.giveBack(text);
      throw error;
    }
    this.#typedAt = 0;
    if (keyOf(target) !== this.#state.current) {
      this.#notice(`to ${titleOf(this.#state.directory, target)}: ${text}`);
    }
  }

  #target(text: string): Target | undefined {
    const target = resolve(this.#state.directory, text);
    if (target === undefined) {
      const what = text.startsWith("#") ? "/join enters a group" : "/add NAME makes a friend";
      this.#notice(`${text} is no friend, fellow member or group of yours. ${what}.`, "error");
    }
    return target;
  }

  #who(text: string | undefined): void {
    const { people, rooms } = this.#state.directory;
    const shown = (id: number) => {
      const person = people.get(id);
      return person === undefined ? `user ${id}` : `${person.online ? "●" : "○"} ${person.name}`;
    };
    if (text === undefined && this.#state.current === undefined) {
      const friends = [...people.values()].filter((person) => person.friend);
      const groups = [...rooms.values()].map((room) => `#${room.name} (${room.id})`);
      this.#notice(`friends: ${friends.map((f) => `${shown(f.id)} (${f.id})`).join("  ")}`);
      return this.#notice(`groups: ${groups.join("  ")}`);
    }
    const target = text === undefined ? currentOf(this.#state)?.target : this.#target(text);
    if (target === undefined) return;
    if (target.kind === "user") return this.#notice(`${shown(target.id)} (${target.id})`);
    const room = rooms.get(target.id);
    if (room === undefined) return this.#notice("You are not in that group.", "error");
    this.#notice(`#${room.name} (${room.id}) ${room.desc}`);
    this.#notice(room.members.map(shown).join("  "));
  }

  #set(option: string | undefined, value: string | undefined): void {
    const name = OPTIONS.find((known) => known === option);
    if (name === undefined || (value !== "on" && value !== "off")) {
      const now = OPTIONS.map((known) => `${known} ${this.options[known] ? "on" : "off"}`);
      return this.#notice(`/set ${OPTIONS.join("|")} on|off. Now: ${now.join(", ")}`);
    }
    this.#saved = { ...this.#saved, [name]: value === "on" };
    this.#saveSoon();
    this.#notice(`${name} is ${value} now.`);
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

  #loadLatest(target: Target): void {
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
        if (this.#state.link.state === "online") this.#notice(inWords(error).error, "error");
      },
    );
  }

  #notice(text: string, tone: "info" | "error" = "info"): void {
    this.dispatch({ type: "notice", text, tone, now: this.#clock.now() });
  }

  #saveSoon(): void {
    this.#cancelSave ??= this.#clock.after(SAVE_DELAY_MS, () => this.#save());
  }

  #save(): void {
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    this.#profile.save(this.#data()).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      this.#notice(`the profile could not be saved: ${why}`, "error");
    });
  }

  #data(): ProfileData {
    const { directory, order, conversations } = this.#state;
    const unread: Record<string, number> = {};
    for (const key of order) {
      const count = conversations.get(key)?.unread ?? 0;
      if (count > 0) unread[key] = count;
    }
    const friends = [...directory.people.values()].filter((person) => person.friend)
      .map(({ id, name }) => ({ id, name }));
    const groups = [...directory.rooms.values()].map(({ id, name, desc }) => ({ id, name, desc }));
    return { ...this.#saved, open: [...order], unread, friends, groups };
  }
}
