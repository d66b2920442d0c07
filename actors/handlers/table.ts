/** msgid ⇒ handler, per protocol version. A msgid without an entry is unknown to that version. */

import {
  AddFriend,
  ChangePassword,
  CreateGroup,
  DeleteAccount,
  GroupChatV1,
  GroupChatV2,
  History,
  JoinGroup,
  LoginV1,
  LoginV2,
  Logout,
  MSGID,
  OneChatV1,
  OneChatV2,
  Ping,
  Pong,
  RecvAck,
  Register,
  RemoveFriend,
  Resume,
  Typing,
} from "@chat/wire/messages.ts";
import { changePassword, deleteAccount, echo, login, logout, register, resume } from "./account.ts";
import {
  groupChatV1,
  groupChatV2,
  history,
  oneChatV1,
  oneChatV2,
  recvAck,
  typing,
} from "./chat.ts";
import { addFriend, createGroup, joinGroup, removeFriend } from "./contacts.ts";
import { entry, type HandlerEntry } from "./types.ts";

const both: [number, HandlerEntry][] = [
  [MSGID.LOGOUT, entry("loggedIn", Logout, logout)],
  [MSGID.REGISTER, entry("any", Register, register)],
  [MSGID.ADD_FRIEND, entry("loggedIn", AddFriend, addFriend)],
  [MSGID.CREATE_GROUP, entry("loggedIn", CreateGroup, createGroup)],
  [MSGID.JOIN_GROUP, entry("loggedIn", JoinGroup, joinGroup)],
  [
    MSGID.PING,
    entry(
      "any",
      Ping,
      (session, m, host) => host.reply(session, { msgid: MSGID.PONG, ...echo(m) }),
    ),
  ],
  [MSGID.RESUME, entry("connected", Resume, resume)],
  // Any byte counts as a sign of life where the socket is; a PONG needs nothing more.
  [MSGID.PONG, entry("any", Pong, () => {})],
];

/** Handlers by version and msgid. */
export const HANDLERS: Readonly<Record<1 | 2, ReadonlyMap<number, HandlerEntry>>> = {
  1: new Map<number, HandlerEntry>([
    ...both,
    [MSGID.LOGIN, entry("connected", LoginV1, login)],
    [MSGID.ONE_CHAT, entry("loggedIn", OneChatV1, oneChatV1)],
    [MSGID.GROUP_CHAT, entry("loggedIn", GroupChatV1, groupChatV1)],
  ]),
  2: new Map<number, HandlerEntry>([
    ...both,
    [MSGID.LOGIN, entry("connected", LoginV2, login)],
    [MSGID.ONE_CHAT, entry("loggedIn", OneChatV2, oneChatV2)],
    [MSGID.GROUP_CHAT, entry("loggedIn", GroupChatV2, groupChatV2)],
    [MSGID.RECV_ACK, entry("loggedIn", RecvAck, recvAck)],
    [MSGID.REMOVE_FRIEND, entry("loggedIn", RemoveFriend, removeFriend)],
    [MSGID.HISTORY, entry("loggedIn", History, history)],
    [MSGID.TYPING, entry("loggedIn", Typing, typing)],
    [MSGID.CHANGE_PASSWORD, entry("loggedIn", ChangePassword, changePassword)],
    [MSGID.DELETE_ACCOUNT, entry("loggedIn", DeleteAccount, deleteAccount)],
  ]),
};
