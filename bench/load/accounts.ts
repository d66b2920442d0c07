/**
 * Prepares users for a measurement: registers them, logs them in, makes their groups.
 * Requests run side by side over the generator's own loop; every wait ends with an error.
 */

import { frame, type Link, type Loop, type Owner, parseFrame } from "./loop.ts";
import type { Scanner } from "./scanner.ts";

const PASSWORD = "pw123456";
/** Longest time without any answer before set-up is given up. */
const STALL_MS = 30_000;
const RETRY_MS = 20;

/** An answer as parsed; its fields are checked where they are used. */
export type Answer = Record<string, unknown>;

/** One request of a batch. */
export interface Request {
  readonly link: Link;
  readonly text: string;
  /** msgid of the answer to wait for; 0 when there is none. */
  readonly answer: number;
}

/** Sends requests, `concurrency` at a time, and collects the answers. */
class Batch implements Owner {
  #started = 0;
  #finished = 0;
  readonly #waiting = new Map<Link, { index: number; answer: number }>();
  #failure: string | undefined;

  constructor(
    readonly loop: Loop,
    readonly count: number,
    readonly make: (index: number) => Request,
    readonly done: (index: number, answer: Answer, link: Link) => void,
  ) {}

  run(concurrency: number): void {
    for (let i = 0; i < concurrency; i++) this.#next();
    const ok = this.loop.until(
      () => this.#finished === this.count || this.#failure !== undefined,
      () => this.#finished,
      STALL_MS,
    );
    if (this.#failure !== undefined) throw new Error(this.#failure);
    if (!ok) throw new Error(`set-up: ${this.count - this.#finished} answers missing after 30 s`);
  }

  #next(): void {
    while (this.#started < this.count) {
      const index = this.#started++;
      const { link, text, answer } = this.make(index);
      link.owner = this;
      const data = frame(text);
      this.loop.write(link, data, data.length);
      if (answer !== 0) {
        this.#waiting.set(link, { index, answer });
        return;
      }
      this.#finished++;
      this.done(index, {}, link);
    }
  }

  onFrame(link: Link, buffer: Uint8Array, scanner: Scanner): void {
    const wait = this.#waiting.get(link);
    if (wait === undefined) return;
    const isError = scanner.msgid === 11 || scanner.msgid === 21;
    if (scanner.msgid !== wait.answer && !isError) return;
    const answer = parseFrame(buffer, scanner);
    if (isError) {
      this.#failure ??= `set-up: ${JSON.stringify(answer)}`;
      return;
    }
    this.#waiting.delete(link);
    this.#finished++;
    this.done(wait.index, answer, link);
    this.#next();
  }

  onTurn(): void {}

  onClosed(link: Link, why: string): void {
    if (this.#waiting.has(link)) this.#failure ??= `set-up: ${why}`;
  }
}

function numberOf(answer: Answer, key: string): number {
  const value = answer[key];
  if (typeof value !== "number") throw new Error(`no ${key} in ${JSON.stringify(answer)}`);
  return value;
}

function mustSucceed(answer: Answer): void {
  if (answer.errno !== 0) throw new Error(`refused: ${JSON.stringify(answer).slice(0, 200)}`);
}

/** A group as LOGIN_ACK lists it: an object in v2, its JSON text in v1. */
function groupsOf(answer: Answer): Answer[] {
  if (!Array.isArray(answer.groups)) return [];
  return answer.groups.map((item: unknown) => {
    const value: unknown = typeof item === "string" ? JSON.parse(item) : item;
    return typeof value === "object" && value !== null ? { ...value } : {};
  });
}

/** Users of one run of the generator; names are unique to it. */
export class Accounts {
  readonly #tag = crypto.randomUUID().slice(0, 8);
  readonly #v: string;

  /** @param concurrency Registrations and log-ins under way at a time. */
  constructor(readonly loop: Loop, readonly v2: boolean, readonly concurrency: number) {
    this.#v = v2 ? ',"v":2' : "";
  }

  /** Ids of `count` new users, in ascending order of registration. */
  register(port: number, count: number): number[] {
    const ids: number[] = [];
    const idle: Link[] = [];
    this.#run(
      count,
      (i) => ({
        link: idle.pop() ?? this.loop.dial(port, NOBODY),
        text: `{"msgid":4,"name":"u${this.#tag}_${i}","password":"${PASSWORD}"${this.#v}}`,
        answer: 5,
      }),
      (i, answer, link) => {
        mustSucceed(answer);
        ids[i] = numberOf(answer, "id");
        idle.push(link);
      },
    );
    for (const link of idle) this.loop.close(link);
    return ids;
  }

  /** The LOGIN request of a user. */
  loginText(id: number): string {
    return `{"msgid":1,"id":${id},"password":"${PASSWORD}"${this.#v}}`;
  }

  /** Logged-in links, one per user; `port(i)` is where the i-th connects. */
  login(
    ids: readonly number[],
    port: (index: number) => number,
    onAnswer?: (index: number, answer: Answer) => void,
  ): Link[] {
    const links: Link[] = [];
    this.#run(
      ids.length,
      (i) => ({
        link: this.loop.dial(port(i), NOBODY),
        text: this.loginText(ids[i] ?? 0),
        answer: 2,
      }),
      (i, answer, link) => {
        mustSucceed(answer);
        onAnswer?.(i, answer);
        links[i] = link;
      },
    );
    return links;
  }

  /**
   * Makes one group per entry of `creators`, which are logged in, and lets the members join.
   * In v1 nothing is answered, so the creator logs in again until the group and its members show.
   *
   * @param links Links of the creators; replaced where a creator had to log in again.
   * @param members Per group: ids and links of those who join; `undefined` link: joins and leaves.
   * @returns Ids of the groups.
   */
  groups(
    port: number,
    creators: readonly number[],
    links: Link[],
    members: readonly (readonly { id: number; link: Link | undefined }[])[],
  ): number[] {
    const groupIds: number[] = [];
    this.#run(creators.length, (i) => ({
      link: links[i] ?? this.loop.dial(port, NOBODY),
      text: `{"msgid":8,"id":${creators[i]},"groupname":"g${this.#tag}_${i}","groupdesc":"bench"}`,
      answer: this.v2 ? 19 : 0,
    }), (i, answer) => {
      if (this.v2) groupIds[i] = numberOf(answer, "groupid");
    });
    if (!this.v2) {
      creators.forEach((id, i) => {
        const { link, group } = this.#relogin(port, id, links[i], `g${this.#tag}_${i}`, 1);
        links[i] = link;
        groupIds[i] = numberOf(group, "id");
      });
    }

    const joins = members.flatMap((list, i) =>
      list.map((m) => ({ ...m, group: groupIds[i] ?? 0 }))
    );
    const away = joins.filter((m) => m.link === undefined);
    const awayLinks = this.login(away.map((m) => m.id), () => port);
    const all = [
      ...joins.filter((m) => m.link !== undefined),
      ...away.map((m, i) => ({ ...m, link: awayLinks[i] })),
    ];
    this.#run(all.length, (i) => {
      const m = all[i];
      return {
        link: m?.link ?? this.loop.dial(port, NOBODY),
        text: `{"msgid":9,"id":${m?.id},"groupid":${m?.group}}`,
        answer: this.v2 ? 19 : 0,
      };
    }, () => {});
    if (!this.v2) {
      creators.forEach((id, i) => {
        const size = 1 + (members[i]?.length ?? 0);
        links[i] = this.#relogin(port, id, links[i], `g${this.#tag}_${i}`, size).link;
      });
    }
    for (const link of awayLinks) this.loop.close(link);
    return groupIds;
  }

  /** Logs a v1 creator in again until his group `name` has `size` members. */
  #relogin(
    port: number,
    id: number,
    old: Link | undefined,
    name: string,
    size: number,
  ): { link: Link; group: Answer } {
    let link = old;
    const end = performance.now() + STALL_MS;
    while (performance.now() < end) {
      if (link !== undefined) this.loop.close(link);
      const pauseEnd = performance.now() + RETRY_MS;
      while (performance.now() < pauseEnd) this.loop.turn(RETRY_MS / 4);
      let answer: Answer = {};
      const dialled = link = this.loop.dial(port, NOBODY);
      new Batch(
        this.loop,
        1,
        () => ({ link: dialled, text: this.loginText(id), answer: 2 }),
        (_, got) => answer = got,
      ).run(1);
      const group = groupsOf(answer).find((g) => g.groupname === name);
      const users = group?.users;
      if (group !== undefined && Array.isArray(users) && users.length >= size) {
        return { link: dialled, group };
      }
    }
    throw new Error(`set-up: group ${name} did not get ${size} members in 30 s`);
  }

  #run(
    count: number,
    make: (index: number) => Request,
    done: (index: number, answer: Answer, link: Link) => void,
  ): void {
    if (count > 0) new Batch(this.loop, count, make, done).run(this.concurrency);
  }
}

/** For a link between two requests: what comes is of no interest. */
export const NOBODY: Owner = {
  onFrame() {},
  onTurn() {},
  onClosed() {},
};
