/**
 * The program without a terminal: one command per input line, one JSON event per output line.
 *
 * Invariants: commands are done in order; sends alone overlap, for their order is kept by the
 * outbox; every command is answered by one `ok` or `error` line with its `line` number; no password
 * and no token is printed. Source: docs/client.md, "Scripting".
 */

import { Arrivals } from "./arrivals.ts";
import type { Client } from "../library/client.ts";
import { type Clock, pause } from "../library/clock.ts";
import { type Invocation, isRequest, perform } from "../chat/commands/command_table.ts";
import { asGroup, helpLines, parseLine, parseObject } from "../chat/commands/commands.ts";
import { keyOf } from "../chat/directory.ts";
import { ConnectionLost, RequestError } from "../library/errors.ts";
import type { ClientEvent, Target } from "../library/events.ts";
import { parseJson } from "../files/json.ts";
import { type Asked, ScriptAnswers } from "./script_answers.ts";
import { ScriptContacts } from "./script_contacts.ts";
import { eventShown, messageShown, whoShown } from "../chat/event_json.ts";

/** How long `/wait`, `/waitfor` and `/sync` wait when nothing is said, in seconds. */
const WAIT_S = 30;

/** Sends that may wait for their acknowledgement at once. */
const MAX_OPEN = 256;

/** What a script needs. */
export interface ScriptOptions {
  readonly client: Client;
  readonly clock: Clock;
  /** Writes one line of output. */
  print(line: string): void;
  /** For `/login` and `/register`. */
  readonly password: string | undefined;
}

/** Passwords for one command: of the JSON command, or `CHAT_PASSWORD`. */
interface Secrets {
  readonly password: string | undefined;
  /** The new one of `passwd`. */
  readonly fresh: string | undefined;
}

/** Runs commands against one client. */
export class Script {
  readonly #options: ScriptOptions;
  readonly #client: Client;
  readonly #answers: ScriptAnswers;
  readonly #contacts: ScriptContacts;
  readonly #arrivals: Arrivals;
  readonly #sends = new OpenSends();
  /** Ends the wait for answers that is under way; one command waits at a time. */
  #endWait: (() => void) | undefined;
  #left = false;

  constructor(options: ScriptOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#answers = new ScriptAnswers((line) => options.print(line));
    this.#contacts = new ScriptContacts(() => options.client.session !== undefined);
    this.#arrivals = new Arrivals(options.clock);
  }

  /** Something failed so far. */
  get failed(): boolean {
    return this.#answers.failed;
  }

  /** Takes an event of the client. */
  onEvent(event: ClientEvent): void {
    this.#contacts.onEvent(event);
    if (event.type === "message") this.#arrivals.add(event.message.msg);
    if (event.type === "connection" && event.state === "offline") this.#endWait?.();
    // What a line of this script sent is told by that line's `ok` or `error`.
    const isOwn = (event.type === "sent" || event.type === "failed") &&
      this.#sends.has(event.cid);
    const shown = isOwn ? undefined : eventShown(event, this.#contacts.directory);
    if (shown !== undefined) this.#answers.tell(shown);
  }

  /**
   * Runs commands until the lines end or one of them leaves.
   *
   * @returns Whether all succeeded.
   */
  async run(lines: AsyncIterable<string>): Promise<boolean> {
    let number = 0;
    for await (const line of lines) {
      number++;
      if (line.trim() !== "") await this.#line(line, number);
      if (this.#left) break;
    }
    await this.#unlessOffline(this.#sends.done());
    return !this.#answers.failed;
  }

  /** Prints a failure that belongs to no line; the exit status tells of it. */
  fail(error: unknown): void {
    this.#answers.fail(error);
  }

  async #line(line: string, number: number): Promise<void> {
    const isJson = line.trimStart().startsWith("{");
    const object = isJson ? parseObjectText(line) : undefined;
    const command: Asked = { line: number, ref: object?.ref };
    const parsed = object !== undefined
      ? parseObject(object)
      : isJson
      ? { ok: false as const, error: "a line that begins with { must be a JSON object" }
      : parseLine(line, { mode: "script", talking: false });
    if (parsed === undefined) return;
    if (!parsed.ok) {
      return this.#answers.error(command, undefined, new RequestError(4, parsed.error));
    }
    const { invocation } = parsed;
    try {
      const secrets = {
        password: textOf(object?.password) ?? this.#options.password,
        fresh: textOf(object?.new),
      };
      const result = await this.#run(invocation, command, secrets);
      if (result !== undefined) this.#answers.ok(command, invocation.command, result);
    } catch (error) {
      this.#answers.error(command, invocation.command, error);
    }
  }

  /** @returns What to print besides `ok`; undefined when the answer is printed later. */
  async #run(
    invocation: Invocation,
    command: Asked,
    { password, fresh }: Secrets,
  ): Promise<object | undefined> {
    const client = this.#client;
    const contacts = this.#contacts;
    if (isRequest(invocation)) return (await perform(client, invocation)).shown;
    switch (invocation.command) {
      case "msg":
        return await this.#send(
          contacts.target(invocation.args.who),
          invocation.args.text,
          command,
        );
      case "chat":
        return await this.#send(contacts.target(invocation.args.id), invocation.args.text, command);
      case "groupchat":
        return await this.#send(
          contacts.target(asGroup(invocation.args.group)),
          invocation.args.text,
          command,
        );
      case "say": {
        const { current } = contacts;
        if (current === undefined) {
          throw new RequestError(4, "nobody to talk to: /open somebody, or /msg WHO TEXT");
        }
        return await this.#send(current, invocation.args.text, command);
      }
      case "open": {
        const { who } = invocation.args;
        const target = who === undefined ? undefined : contacts.target(who);
        contacts.open(target);
        return target === undefined ? {} : { conversation: keyOf(target) };
      }
      case "who":
        contacts.needSession();
        return whoShown(
          contacts.directory,
          invocation.args.who === undefined ? undefined : contacts.target(invocation.args.who),
        );
      case "history": {
        const { who, count } = invocation.args;
        const target = who === undefined ? contacts.current : contacts.target(who);
        if (target === undefined) throw new RequestError(4, "whose history? /history WHO [COUNT]");
        const limit = Math.min(200, Math.max(1, Math.floor(Number(count ?? 50))));
        const page = await client.history(target, { limit });
        return {
          messages: page.messages.map((message) => messageShown(message, contacts.directory)),
          more: page.more,
        };
      }
      case "register":
        return { id: await client.register(invocation.args.name, needed(password)) };
      case "login": {
        const session = await client.login({
          name: invocation.args.name,
          password: needed(password),
        });
        return { id: session.id, name: session.name };
      }
      case "passwd":
        await client.changePassword(needed(password), needed(fresh, '"new"'));
        return {};
      case "deleteaccount":
        await client.deleteAccount(needed(password));
        this.#forget();
        return {};
      case "sync":
        await this.#sync(seconds(invocation.args.seconds));
        return {};
      case "wait": {
        const count = Math.floor(Number(invocation.args.count));
        await this.#arrivals.count(count, seconds(invocation.args.seconds));
        return {};
      }
      case "waitfor":
        await this.#arrivals.containing(invocation.args.text, seconds(invocation.args.seconds));
        return {};
      case "listen":
        await this.#listen(invocation.args.seconds);
        return {};
      case "reconnect":
        client.reconnect();
        return {};
      case "logout":
        await this.#unlessOffline(this.#sends.done());
        await client.logout();
        this.#forget();
        return {};
      case "quit":
        await this.#unlessOffline(this.#sends.done());
        this.#left = true;
        return {};
      case "help":
        return { help: helpLines("script", invocation.args.command) };
      case "next":
      case "prev":
      case "unread":
      case "close":
      case "set":
      case "clear":
        throw new RequestError(4, `/${invocation.command} works on a terminal only`);
      default:
        return invocation satisfies never;
    }
  }

  /** Nobody is logged in any more; whoever is next neither talks to nor waits for what was theirs. */
  #forget(): void {
    this.#contacts.forget();
    this.#arrivals.forget();
  }

  /** Queues a chat; its line is answered when the server has it, or has refused it. */
  async #send(target: Target, text: string, command: Asked): Promise<undefined> {
    await this.#unlessOffline(this.#sends.room());
    const queued = await this.#client.send(target, text);
    const answered = queued.acknowledged().then(
      ({ cid, mid, ts }) => this.#answers.ok(command, "msg", { to: keyOf(target), cid, mid, ts }),
      (error) => this.#answers.error(command, "msg", error),
    );
    this.#sends.add(queued.cid, answered);
  }

  /** Resolves with a wait for answers to sends, or when none will come: the client stays offline. */
  async #unlessOffline(answers: Promise<void>): Promise<void> {
    if (this.#client.state === "offline") return;
    const { promise: offline, resolve } = Promise.withResolvers<void>();
    this.#endWait = resolve;
    await Promise.race([answers, offline]);
  }

  async #sync(timeoutS: number): Promise<void> {
    if (!(await this.#client.drained(timeoutS * 1000))) {
      const { session, unsent } = this.#client;
      if (session === undefined) throw new RequestError(3, "log in first");
      const own = unsent.filter((chat) => chat.from === session.id);
      throw new ConnectionLost(`${own.length} messages are not acknowledged`);
    }
    await this.#sends.done();
  }

  async #listen(forSeconds: string | undefined): Promise<void> {
    if (forSeconds === undefined) {
      // Until the process is told to end.
      await Promise.withResolvers<void>().promise;
      return;
    }
    await pause(this.#options.clock, Number(forSeconds) * 1000).done;
  }
}

/** Sends whose line has not been answered; the script waits for room before it adds one. */
class OpenSends {
  readonly #answers = new Set<Promise<void>>();
  readonly #cids = new Set<string>();

  /** A chat's line will be answered. */
  has(cid: string): boolean {
    return this.#cids.has(cid);
  }

  /** Resolves when one more may be sent. */
  async room(): Promise<void> {
    while (this.#answers.size >= MAX_OPEN) await Promise.race(this.#answers);
  }

  /** A chat is sent; `answered` resolves when its line has been answered. */
  add(cid: string, answered: Promise<void>): void {
    this.#cids.add(cid);
    const closed = answered.finally(() => {
      this.#answers.delete(closed);
      this.#cids.delete(cid);
    });
    this.#answers.add(closed);
  }

  /** Resolves when those that are open now have been answered. */
  async done(): Promise<void> {
    await Promise.all(this.#answers);
  }
}

function seconds(text: string | undefined): number {
  return text === undefined ? WAIT_S : Number(text);
}

function needed(password: string | undefined, where = "CHAT_PASSWORD"): string {
  if (password === undefined || password === "") {
    throw new RequestError(4, `no password: it goes into ${where}`);
  }
  return password;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function parseObjectText(line: string): Record<string, unknown> | undefined {
  const value = parseJson(line);
  return typeof value === "object" && value !== null ? { ...value } : undefined;
}
