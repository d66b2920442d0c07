/** Who talks in a conversation, as both databases name it. Pure. */

import type { GroupId, UserId } from "../ports.ts";

/** Below this, two ids make one exact number. */
const HALF = 2 ** 26;

/** A conversation as its row has it: two people, the lower id first, or a group. */
export type Who = readonly [low: UserId, high: UserId, group: GroupId];

/** Who talks in the conversation that a message to `toid` or `groupid` belongs to. */
export function whoOf(from: UserId, toid: UserId, groupid: GroupId): Who {
  if (groupid !== 0) return [0, 0, groupid];
  return from < toid ? [from, toid, 0] : [toid, from, 0];
}

/** A key for maps: negative for groups. */
export function keyOf([low, high, group]: Who): number | string {
  if (group !== 0) return -group;
  return high < HALF ? low * HALF + high : `${low} ${high}`;
}
