/**
 * ADD_FRIEND, REMOVE_FRIEND, CREATE_GROUP, JOIN_GROUP: the lists of friends and groups. v1 gets no
 * answer but an ERROR.
 */

import { ChatError } from "@chat/wire/errors.ts";
import { AddFriend, CreateGroup, JoinGroup, MSGID, RemoveFriend } from "@chat/wire/messages.ts";
import { groupStates, personState } from "./account.ts";
import { echo, entry, type Handler, type Requests } from "./types.ts";

// ADD_FRIEND friendid | name → OK friend | NO_SUCH_TARGET
const addFriend: Handler<AddFriend> = async (session, m, host) => {
  const { maxFriends } = host.settings;
  const whom = m.friendid ?? m.name ?? 0;
  const person = await host.store.call("addFriend", session.user, whom, maxFriends);
  if (person === "full") throw new ChatError("NOT_PERMITTED", `no more than ${maxFriends} friends`);
  if (person === undefined) throw new ChatError("NO_SUCH_TARGET", "no such user");
  if (session.v === 1) return;
  host.presence.watch(session, [person.id]);
  const friend = personState(person, session.user, host.replica);
  host.reply(session, { msgid: MSGID.OK, friend, ...echo(m) });
};

// REMOVE_FRIEND friendid | name → OK friend | NO_SUCH_TARGET
const removeFriend: Handler<RemoveFriend> = async (session, m, host) => {
  const { user } = session;
  const person = await host.store.call("removeFriend", user, m.friendid ?? m.name ?? 0);
  if (person === undefined) throw new ChatError("NO_SUCH_TARGET", "no such user");
  const { groups } = await host.store.call("contacts", user);
  // Fellow members of a group go on being told of each other.
  const isFellow = groups.some(({ users }) => users.some(({ id }) => id === person.id));
  if (!isFellow) host.presence.unwatch(session, person.id);
  const friend = personState(person, user, host.replica);
  host.reply(session, { msgid: MSGID.OK, friend, ...echo(m) });
};

// CREATE_GROUP groupname, groupdesc → OK groupid, group | NAME_TAKEN
const createGroup: Handler<CreateGroup> = async (session, m, host) => {
  const { user, name } = session;
  const { maxGroups } = host.settings;
  const id = await host.store.call("createGroup", user, m.groupname, m.groupdesc, maxGroups);
  if (id === "too_many") throw tooMany(maxGroups);
  if (id === undefined) {
    throw new ChatError("NAME_TAKEN", "a group of this name, or one that looks like it, exists");
  }
  if (session.v === 1) return;
  const users = [{ id: user, name, role: "creator" }] as const;
  const row = { id, groupname: m.groupname, groupdesc: m.groupdesc, size: 1, users };
  host.groups.put(row);
  const group = groupStates(row, user, host.replica);
  host.reply(session, { msgid: MSGID.OK, groupid: id, group, ...echo(m) });
};

// JOIN_GROUP groupid | groupname → OK groupid, group | NO_SUCH_TARGET
const joinGroup: Handler<JoinGroup> = async (session, m, host) => {
  const { user } = session;
  const { maxGroup, maxGroups } = host.settings;
  const which = m.groupid ?? m.groupname ?? 0;
  const joined = await host.store.call("joinGroup", user, which, maxGroup, maxGroups);
  if (joined === "full") {
    throw new ChatError("NOT_PERMITTED", `the group is full: ${maxGroup} members`);
  }
  if (joined === "too_many") throw tooMany(maxGroups);
  if (joined === undefined) throw new ChatError("NO_SUCH_TARGET", "no such group");
  const { isNew, group: row } = joined;
  if (isNew) host.groupChanged(row.id, row.size);
  if (session.v === 1) return;
  host.presence.watch(session, row.users.map((u) => u.id));
  const group = groupStates(row, user, host.replica);
  host.reply(session, { msgid: MSGID.OK, groupid: row.id, group, ...echo(m) });
};

function tooMany(maxGroups: number): ChatError {
  return new ChatError("NOT_PERMITTED", `no more than ${maxGroups} groups`);
}

/** Rows of the handler table. */
export const CONTACT_REQUESTS: Requests = {
  both: [
    [MSGID.ADD_FRIEND, entry("loggedIn", AddFriend, addFriend)],
    [MSGID.CREATE_GROUP, entry("loggedIn", CreateGroup, createGroup)],
    [MSGID.JOIN_GROUP, entry("loggedIn", JoinGroup, joinGroup)],
  ],
  v2: [[MSGID.REMOVE_FRIEND, entry("loggedIn", RemoveFriend, removeFriend)]],
};
