/**
 * Spreads the news that a group's members changed: every worker of every node forgets what it knew
 * of them, and who is online in a group is told of whoever joined it.
 */

import type { BridgeMessage } from "../routing/bridge.ts";
import type { Host } from "../handlers/types.ts";
import type { GroupId } from "../ports.ts";
import { workerThread } from "../routing/router.ts";
import type { ActorSystem } from "../runtime/runtime.ts";
import type { SessionTable } from "./session_table.ts";

/** Groups larger than this bring no presence of members that join while a session is on. */
const MAX_PRESENCE_GROUP = 500;

/**
 * Who joins is told to the others after this long, ms: however many join, a group is read once for
 * all of them.
 */
const GATHER_MS = 250;
/** Groups that may wait to be read; of what joins more its members hear at their next log-in. */
const MAX_CHANGED = 1_000;

/** Told to the workers of one node. */
export interface GroupChanged {
  readonly type: "group_changed";
  readonly groupid: GroupId;
  /** Members that it has now; 0 when nobody came. */
  readonly size: number;
}

/** What group changes need of their worker. */
export interface GroupChangesPorts {
  readonly host: Pick<Host, "clock" | "groups" | "presence">;
  readonly sessions: SessionTable;
  /** This worker's index, and how many its node has. */
  readonly index: number;
  readonly workers: number;
  readonly log: (text: string, error: unknown) => void;
}

/** See the module's header. */
export class GroupChanges {
  readonly #system: ActorSystem;
  readonly #ports: GroupChangesPorts;
  readonly #grown = new Set<GroupId>();

  constructor(system: ActorSystem, ports: GroupChangesPorts) {
    this.#system = system;
    this.#ports = ports;
  }

  /** A session of this worker changed a group: all hear of it. */
  announce(groupid: GroupId, size: number): void {
    const { index, workers } = this.#ports;
    this.hear(groupid, size);
    for (let other = 0; other < workers; other++) {
      if (other === index) continue;
      const sessions = this.#system.ref<GroupChanged>(workerThread(other), "sessions");
      sessions.tell({ type: "group_changed", groupid, size });
    }
    const text = JSON.stringify({ groupChanged: groupid, size });
    this.#system.ref<BridgeMessage>(0, "bridge").tell({ type: "broadcast", text });
  }

  /** A group was changed, here or elsewhere; `size` as in {@linkcode GroupChanged}. */
  hear(groupid: GroupId, size: number): void {
    const { host: { clock, groups, presence } } = this.#ports;
    groups.invalidate(groupid);
    if (presence.size === 0 || size === 0 || size > MAX_PRESENCE_GROUP) return;
    if (this.#grown.size >= MAX_CHANGED) return;
    if (this.#grown.size === 0) clock.after(GATHER_MS, () => void this.#watchGrown());
    this.#grown.add(groupid);
  }

  /** One group after the other: what waits for the store's thread is one question of this worker. */
  async #watchGrown(): Promise<void> {
    const { host: { groups, presence }, sessions, log } = this.#ports;
    const grown = [...this.#grown];
    this.#grown.clear();
    for (const groupid of grown) {
      try {
        const group = groups.peek(groupid) ?? await groups.load(groupid);
        if (group === undefined || group.members.length > MAX_PRESENCE_GROUP) continue;
        for (const id of group.members) {
          const session = sessions.ofUser(id);
          if (session?.v === 2) presence.watch(session, group.members);
        }
      } catch (error) {
        log(`members of group ${groupid}`, error);
      }
    }
  }
}
