/**
 * The lists of a v1 LOGIN_ACK, in the form that classic clients read: objects as texts within texts. Cut
 * to what such a client reads at a time: first members of groups, then groups, then friends; where
 * something is left out an entry of the list says how much.
 */

import type { Friend, Group } from "@chat/wire/messages.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { utf8Length } from "../sessions/push_text.ts";

/** The fields of the answer. */
export interface ClassicLists {
  readonly friends?: readonly string[];
  readonly groups?: readonly string[];
}

/**
 * @param who Whose answer it is.
 * @param mostBytes Of the whole answer without its offline messages; 0 or less: no limit.
 */
export function classicLists(
  who: { readonly id: number; readonly name: string },
  friends: readonly Friend[],
  groups: readonly Group[],
  mostBytes: number,
): ClassicLists {
  const make = (friendCount: number, groupCount: number, members: number): ClassicLists => {
    const listed = friends.slice(0, friendCount).map((friend) => JSON.stringify(friend));
    const leftOut = friends.length - listed.length;
    if (leftOut > 0) listed.push(JSON.stringify({ id: 0, name: more(leftOut), state: "offline" }));
    const shown = groups.slice(0, groupCount).map((group) => groupText(group, members));
    const hidden = groups.length - shown.length;
    if (hidden > 0) {
      const rest = { id: 0, groupname: more(hidden), groupdesc: "", users: [] };
      shown.push(JSON.stringify(rest));
    }
    return {
      ...(listed.length > 0 && { friends: listed }),
      ...(shown.length > 0 && { groups: shown }),
    };
  };
  const fits = (lists: ClassicLists) =>
    utf8Length(JSON.stringify({ msgid: MSGID.LOGIN_ACK, errno: 0, ...who, ...lists })) <= mostBytes;
  const most = Math.max(0, ...groups.map((group) => group.users.length));
  const whole = make(friends.length, groups.length, most);
  if (mostBytes <= 0 || fits(whole)) return whole;
  const all = groups.length;
  const members = largest(most, (n) => fits(make(friends.length, all, n)));
  if (members >= 0) return make(friends.length, all, members);
  const shown = largest(all, (n) => fits(make(friends.length, n, 0)));
  if (shown >= 0) return make(friends.length, shown, 0);
  return make(Math.max(0, largest(friends.length, (n) => fits(make(n, 0, 0)))), 0, 0);
}

function groupText(group: Group, most: number): string {
  const { id, groupname, groupdesc } = group;
  const users = group.users.slice(0, most).map((user) => JSON.stringify(user));
  const hidden = (group.size ?? group.users.length) - users.length;
  if (hidden > 0) {
    users.push(JSON.stringify({ id: 0, name: more(hidden), state: "offline", role: "normal" }));
  }
  return JSON.stringify({ id, groupname, groupdesc, users });
}

function more(count: number): string {
  return `(${count} more)`;
}

/** The largest n from 0 to `most` that fits, when what fits for n does for less; -1 when none does. */
function largest(most: number, fits: (n: number) => boolean): number {
  let [low, high] = [-1, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
