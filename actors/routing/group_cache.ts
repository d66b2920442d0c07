/**
 * Members of the groups this worker sends to, so that a group message needs no read on its way.
 * The store decides at commit who gets a pending row; a stale entry here only delays a live push.
 */

import type { Clock, GroupId, GroupRow, UserId } from "../ports.ts";

/** An entry older than this is read again in the background, ms: a lost invalidation heals. */
const FRESH_MS = 10_000;
/** Most groups kept; the one used least recently goes. */
const MAX_GROUPS = 2_000;

/** A group as the cache knows it. */
export interface CachedGroup {
  readonly members: readonly UserId[];
  readonly memberSet: ReadonlySet<UserId>;
}

interface Entry {
  group: CachedGroup;
  readAt: number;
  reading: boolean;
}

/** See the module's header. */
export class GroupCache {
  readonly #clock: Clock;
  readonly #read: (id: GroupId) => Promise<GroupRow | undefined>;
  readonly #entries = new Map<GroupId, Entry>();

  /** @param read Asks the store; a rejection is the caller's to answer. */
  constructor(clock: Clock, read: (id: GroupId) => Promise<GroupRow | undefined>) {
    this.#clock = clock;
    this.#read = read;
  }

  /** The group if it is here; an entry past its time is used while it is read again. */
  peek(id: GroupId): CachedGroup | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    if (!entry.reading && this.#clock.now() - entry.readAt > FRESH_MS) {
      entry.reading = true;
      // A failed refresh leaves the entry; it is tried again with the next message.
      this.load(id).catch(() => entry.reading = false);
    }
    return entry.group;
  }

  /** Reads the group; undefined when there is none. Rejects as the store does. */
  async load(id: GroupId): Promise<CachedGroup | undefined> {
    const row = await this.#read(id);
    if (row === undefined) {
      this.#entries.delete(id);
      return undefined;
    }
    return this.put(row);
  }

  /** Takes what was read for another purpose. */
  put(row: GroupRow): CachedGroup {
    const members = row.users.map((m) => m.id);
    const group = { members, memberSet: new Set(members) };
    this.#entries.delete(row.id);
    this.#entries.set(row.id, { group, readAt: this.#clock.now(), reading: false });
    if (this.#entries.size > MAX_GROUPS) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    return group;
  }

  /** Its members changed: the next message reads it again. */
  invalidate(id: GroupId): void {
    this.#entries.delete(id);
  }
}
