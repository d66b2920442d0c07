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

/** Told to the workers of one node. */
export interface GroupChanged {
  readonly type: "group_changed";
  readonly groupid: GroupId;
}

/** What group changes need of their worker. */
export interface GroupChangesPorts {
  readonly host: Pick<Host, "groups" | "presence">;
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

  constructor(system: ActorSystem, ports: GroupChangesPorts) {
    this.#system = system;
    this.#ports = ports;
  }

  /** A session of this worker changed a group: all hear of it. */
  announce(groupid: GroupId): void {
    const { index, workers } = this.#ports;
    this.hear(groupid);
    for (let other = 0; other < workers; other++) {
      if (other === index) continue;
      const sessions = this.#system.ref<GroupChanged>(workerThread(other), "sessions");
      sessions.tell({ type: "group_changed", groupid });
    }
    const text = JSON.stringify({ groupChanged: groupid });
    this.#system.ref<BridgeMessage>(0, "bridge").tell({ type: "broadcast", text });
  }

  /** A group was changed, here or elsewhere. */
  hear(groupid: GroupId): void {
    const { host: { groups, presence }, sessions, log } = this.#ports;
    groups.invalidate(groupid);
    if (presence.size === 0) return;
    groups.load(groupid).then((group) => {
      if (group === undefined || group.members.length > MAX_PRESENCE_GROUP) return;
      for (const id of group.members) {
        const session = sessions.ofUser(id);
        if (session?.v === 2) presence.watch(session, group.members);
      }
    }, (error) => log(`members of group ${groupid}`, error));
  }
}
