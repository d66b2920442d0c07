/**
 * Every message of the protocol as a zod schema; the TypeScript types follow from them.
 * No I/O and no behaviour. Source: docs/protocol.md.
 */

import { z } from "zod";
import {
  MAX_CID_UNITS,
  MAX_DESC_UNITS,
  MAX_HISTORY,
  MAX_NAME_UNITS,
  MAX_PASSWORD_UNITS,
  MAX_RECEIPTS,
  MAX_TEXT_UNITS,
  MID_LENGTH,
} from "./limits.ts";
import { wrongName } from "./names.ts";

/** msgid of every message; numbers are wire contract: append only, never reuse. */
export const MSGID = {
  LOGIN: 1,
  LOGIN_ACK: 2,
  LOGOUT: 3,
  REGISTER: 4,
  REGISTER_ACK: 5,
  ONE_CHAT: 6,
  ADD_FRIEND: 7,
  CREATE_GROUP: 8,
  JOIN_GROUP: 9,
  GROUP_CHAT: 10,
  ERROR: 11,
  CHAT_ACK: 12,
  RECV_ACK: 13,
  PING: 14,
  PONG: 15,
  RESUME: 16,
  HISTORY: 17,
  HISTORY_ACK: 18,
  OK: 19,
  PRESENCE: 20,
  BYE: 21,
  DELIVERED: 22,
  TYPING: 23,
  CHANGE_PASSWORD: 24,
  DELETE_ACCOUNT: 25,
  REMOVE_FRIEND: 26,
} as const;

/** Crockford's base 32 of 128 bits. */
const MID = new RegExp(`^[0-7][0-9A-HJKMNP-TV-Z]{${MID_LENGTH - 1}}$`);
/** Text of at most so many UTF-16 units; `max` of zod would count code points. */
const upTo = (units: number) =>
  z.string().refine((s) => s.length <= units, { error: `is longer than ${units} UTF-16 units` });

/** A user's id: a positive integer. */
export const UserId = z.int().positive();
/** A group's id: a positive integer. */
export const GroupId = z.int().positive();
/**
 * A message's id, given by the server: a ULID that sorts in causal order. Nothing else passes for one:
 * ids that clients repeat (`seen`) go into those of other messages, and into JSON as they are.
 */
export const Mid = z.string().regex(MID, { error: "is no message id" });
/**
 * A message's id, chosen by its sender: unique per sender, for ever. Well-formed, as a lone
 * surrogate would be stored as another character and two ids pass for one.
 */
export const Cid = upTo(MAX_CID_UNITS).min(1)
  .refine((s) => s.isWellFormed(), { error: "is not well-formed" });
/** A client's label of a request, echoed in its answer. */
export const Req = z.union([upTo(64), z.number()]);
/** `online` while the user has a session on any node. */
export const State = z.enum(["online", "offline"]);
/** What a member is in a group. */
export const Role = z.enum(["creator", "normal"]);

const text = upTo(MAX_TEXT_UNITS).min(1);
const password = upTo(MAX_PASSWORD_UNITS).min(1);
/** A name as it is looked up: in NFC, as names are kept. */
const knownName = upTo(4 * MAX_NAME_UNITS).normalize("NFC").min(1)
  .refine((s) => s.length <= MAX_NAME_UNITS, {
    error: `is longer than ${MAX_NAME_UNITS} UTF-16 units`,
  });
/**
 * A new name, in NFC. What cannot be seen would let one name pass for another: control, format,
 * private and unassigned characters, lone surrogates (C), every space but the common one (Z), what
 * is ignored when drawn (fillers, joiners, tags, variation selectors), and a blank Braille cell.
 * A combining mark needs something before it to combine with.
 */
export const Name = knownName
  .regex(
    /^(?:[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]| )+$/u,
    "has control or invisible characters",
  ).refine((s) => s.trim() === s && !/^\p{M}/u.test(s), {
    error: "begins or ends with a space, or begins with a combining mark",
  }).superRefine((s, context) => {
    const wrong = wrongName(s);
    if (wrong !== undefined) context.addIssue({ code: "custom", message: wrong });
  });
const name = Name;
/** A client's name of the device that it runs on: a resume token is good on that device only. */
export const Device = upTo(64)
  .refine((s) => s.isWellFormed(), { error: "is not well-formed" });
const req = Req.optional();
/**
 * A chat that is sent again (no CHAT_ACK came): when it was first sent, epoch ms by the server's
 * clock (LOGIN_ACK `now`), and the greatest `mid` its sender had then. Replies to what a recipient
 * saw of the first attempt then sort after it. Without them it is stamped anew.
 */
const resent = { at: z.number().positive().optional(), seen: Mid.optional() };

/** A friend as listed in LOGIN_ACK. */
export const Friend = z.object({ id: UserId, name: z.string(), state: State });
export type Friend = z.infer<typeof Friend>;

/** A group's member as listed in LOGIN_ACK. */
export const Member = z.object({ id: UserId, name: z.string(), state: State, role: Role });
export type Member = z.infer<typeof Member>;

/** A group as listed in LOGIN_ACK. */
export const Group = z.object({
  id: GroupId,
  groupname: z.string(),
  groupdesc: z.string(),
  /** Members in all, when `users` lists only some of them. */
  size: z.int().optional(),
  users: z.array(Member),
});
export type Group = z.infer<typeof Group>;

// ── client → server ─────────────────────────────────────────────────────────────────────────

/** What a client asks to be told beyond the basic protocol: LOGIN and RESUME, field `want`. */
export const Want = z.enum(["delivered", "typing"]);
export type Want = z.infer<typeof Want>;

/** LOGIN (1), v1: `id` and `password`. Answer: LOGIN_ACK. */
export const LoginV1 = z.object({ msgid: z.literal(MSGID.LOGIN), id: UserId, password });
/** LOGIN (1), v2: `id` or `name`, and `password`. Answer: LOGIN_ACK. */
export const LoginV2 = z.object({
  msgid: z.literal(MSGID.LOGIN),
  v: z.literal(2).optional(),
  id: UserId.optional(),
  name: knownName.optional(),
  password,
  device: Device.optional(),
  want: z.array(Want).max(8).optional(),
  seen: Mid.optional(), // the greatest that the client has had: what it says next sorts after it
  req,
}).refine((m) => (m.id === undefined) !== (m.name === undefined), {
  error: "needs either id or name",
});
export type Login = z.infer<typeof LoginV2>;

/** LOGOUT (3). v1: no answer; v2: OK. The connection may log in again. */
export const Logout = z.object({ msgid: z.literal(MSGID.LOGOUT), req });
export type Logout = z.infer<typeof Logout>;

/** REGISTER (4). Answer: REGISTER_ACK. */
export const Register = z.object({ msgid: z.literal(MSGID.REGISTER), name, password, req });
export type Register = z.infer<typeof Register>;

/** ONE_CHAT (6), v1: the whole object, unknown fields included, goes to the recipient. */
export const OneChatV1 = z.looseObject({
  msgid: z.literal(MSGID.ONE_CHAT),
  to: UserId.optional(),
  toid: UserId.optional(),
  msg: text,
}).refine((m) => m.to !== undefined || m.toid !== undefined, { error: "needs to" });
export type OneChatV1 = z.infer<typeof OneChatV1>;
/** ONE_CHAT (6), v2. Answer: CHAT_ACK once durable. */
export const OneChatV2 = z.object({
  msgid: z.literal(MSGID.ONE_CHAT),
  toid: UserId,
  cid: Cid,
  msg: text,
  ...resent,
  req,
});
export type OneChatV2 = z.infer<typeof OneChatV2>;

/** ADD_FRIEND (7): `friendid`, or in v2 `name`. v1: no answer; v2: OK with `friend`. */
export const AddFriend = z.object({
  msgid: z.literal(MSGID.ADD_FRIEND),
  friendid: UserId.optional(),
  name: knownName.optional(),
  req,
}).refine((m) => m.friendid !== undefined || m.name !== undefined, { error: "needs friendid" });
export type AddFriend = z.infer<typeof AddFriend>;

/** REMOVE_FRIEND (26), v2: `friendid` or `name`. Answer: OK with `friend`, friend or not. */
export const RemoveFriend = z.object({
  msgid: z.literal(MSGID.REMOVE_FRIEND),
  friendid: UserId.optional(),
  name: knownName.optional(),
  req,
}).refine((m) => m.friendid !== undefined || m.name !== undefined, { error: "needs friendid" });
export type RemoveFriend = z.infer<typeof RemoveFriend>;

/** CREATE_GROUP (8). v1: no answer; v2: OK with `groupid` and `group`. */
export const CreateGroup = z.object({
  msgid: z.literal(MSGID.CREATE_GROUP),
  groupname: name,
  groupdesc: upTo(MAX_DESC_UNITS).default(""),
  req,
});
export type CreateGroup = z.infer<typeof CreateGroup>;

/** JOIN_GROUP (9): `groupid`, or in v2 `groupname`. v1: no answer; v2: OK with `group`. */
export const JoinGroup = z.object({
  msgid: z.literal(MSGID.JOIN_GROUP),
  groupid: GroupId.optional(),
  groupname: knownName.optional(),
  req,
}).refine((m) => m.groupid !== undefined || m.groupname !== undefined, { error: "needs groupid" });
export type JoinGroup = z.infer<typeof JoinGroup>;

/** GROUP_CHAT (10), v1: the whole object, unknown fields included, goes to every other member. */
export const GroupChatV1 = z.looseObject({
  msgid: z.literal(MSGID.GROUP_CHAT),
  groupid: GroupId,
  msg: text,
});
export type GroupChatV1 = z.infer<typeof GroupChatV1>;
/** GROUP_CHAT (10), v2. Answer: CHAT_ACK once durable. */
export const GroupChatV2 = z.object({
  msgid: z.literal(MSGID.GROUP_CHAT),
  groupid: GroupId,
  cid: Cid,
  msg: text,
  ...resent,
  req,
});
export type GroupChatV2 = z.infer<typeof GroupChatV2>;

/** RECV_ACK (13), v2: the recipient has these messages. No answer. */
export const RecvAck = z.object({
  msgid: z.literal(MSGID.RECV_ACK),
  mids: z.array(Mid).max(MAX_RECEIPTS),
});
export type RecvAck = z.infer<typeof RecvAck>;

/** PING (14), either way. Answer: PONG with the same `req`. */
export const Ping = z.object({ msgid: z.literal(MSGID.PING), req });
export type Ping = z.infer<typeof Ping>;
/** PONG (15), either way. */
export const Pong = z.object({ msgid: z.literal(MSGID.PONG), req });
export type Pong = z.infer<typeof Pong>;

/** RESUME (16), v2: log in with the token of an earlier LOGIN_ACK. Answer: LOGIN_ACK. */
export const Resume = z.object({
  msgid: z.literal(MSGID.RESUME),
  token: upTo(512).min(1),
  device: Device.optional(),
  want: z.array(Want).max(8).optional(),
  seen: Mid.optional(), // as in LOGIN
  req,
});
export type Resume = z.infer<typeof Resume>;

/** HISTORY (17), v2: a page of a conversation, older than `before`. Answer: HISTORY_ACK. */
export const History = z.object({
  msgid: z.literal(MSGID.HISTORY),
  userid: UserId.optional(),
  groupid: GroupId.optional(),
  before: Mid.optional(),
  limit: z.int().min(1).max(MAX_HISTORY).default(50),
  req,
}).refine((m) => (m.userid === undefined) !== (m.groupid === undefined), {
  error: "needs either userid or groupid",
});
export type History = z.infer<typeof History>;

/** TYPING (23), v2, both ways: someone types to a user or in a group. Never stored, no answer. */
export const Typing = z.object({
  msgid: z.literal(MSGID.TYPING),
  toid: UserId.optional(),
  groupid: GroupId.optional(),
  id: UserId.optional(),
  name: z.string().optional(),
});
export type Typing = z.infer<typeof Typing>;

/** CHANGE_PASSWORD (24), v2. Answer: OK; every other resume token of the user ends. */
export const ChangePassword = z.object({
  msgid: z.literal(MSGID.CHANGE_PASSWORD),
  old: password,
  new: password,
  req,
});
export type ChangePassword = z.infer<typeof ChangePassword>;

/** DELETE_ACCOUNT (25), v2. Answer: OK, then BYE. */
export const DeleteAccount = z.object({
  msgid: z.literal(MSGID.DELETE_ACCOUNT),
  password,
  req,
});
export type DeleteAccount = z.infer<typeof DeleteAccount>;

// ── server → client (v2) ────────────────────────────────────────────────────────────────────

/** LOGIN_ACK (2), v2. `errno` 0 brings everything else but `errmsg`. */
export const LoginAck = z.object({
  msgid: z.literal(MSGID.LOGIN_ACK),
  errno: z.int(),
  errmsg: z.string().optional(),
  retryAfterMs: z.number().optional(),
  id: UserId.optional(),
  name: z.string().optional(),
  friends: z.array(Friend).optional(),
  groups: z.array(Group).optional(),
  token: z.string().optional(),
  heartbeat: z.number().optional(), // seconds
  now: z.number().optional(), // the server's clock, epoch ms
  node: z.string().optional(),
  req,
});
export type LoginAck = z.infer<typeof LoginAck>;

/** REGISTER_ACK (5). `errno` 0 brings the new `id`. */
export const RegisterAck = z.object({
  msgid: z.literal(MSGID.REGISTER_ACK),
  errno: z.int(),
  errmsg: z.string().optional(),
  retryAfterMs: z.number().optional(),
  id: UserId.optional(),
  req,
});
export type RegisterAck = z.infer<typeof RegisterAck>;

/** One stored message as HISTORY_ACK lists it; a push is the same with a msgid. */
export const ChatMessage = z.object({
  mid: Mid,
  cid: z.string(),
  id: UserId,
  name: z.string(),
  ts: z.number(), // epoch ms
  toid: UserId.optional(),
  groupid: GroupId.optional(),
  msg: z.string(),
});
export type ChatMessage = z.infer<typeof ChatMessage>;

/** ONE_CHAT (6) as pushed to a v2 recipient. Answer: RECV_ACK. */
export const OneChatPush = ChatMessage.extend({ msgid: z.literal(MSGID.ONE_CHAT), toid: UserId });
export type OneChatPush = z.infer<typeof OneChatPush>;
/** GROUP_CHAT (10) as pushed to a v2 recipient. Answer: RECV_ACK. */
export const GroupChatPush = ChatMessage.extend({
  msgid: z.literal(MSGID.GROUP_CHAT),
  groupid: GroupId,
});
export type GroupChatPush = z.infer<typeof GroupChatPush>;

/** ERROR (11): what failed, by its `req` or `cid`. */
export const ErrorMessage = z.object({
  msgid: z.literal(MSGID.ERROR),
  errno: z.int(),
  errmsg: z.string(),
  retryAfterMs: z.number().optional(),
  cid: z.string().optional(),
  req,
});
export type ErrorMessage = z.infer<typeof ErrorMessage>;

/** CHAT_ACK (12): the message with this `cid` is durable under this `mid`. */
export const ChatAck = z.object({
  msgid: z.literal(MSGID.CHAT_ACK),
  cid: z.string(),
  mid: Mid,
  ts: z.number(), // epoch ms
  req,
});
export type ChatAck = z.infer<typeof ChatAck>;

/** HISTORY_ACK (18): a page, oldest first; `more` when older messages exist. */
export const HistoryAck = z.object({
  msgid: z.literal(MSGID.HISTORY_ACK),
  messages: z.array(ChatMessage),
  more: z.boolean(),
  req,
});
export type HistoryAck = z.infer<typeof HistoryAck>;

/** OK (19): the request succeeded. */
export const Ok = z.object({
  msgid: z.literal(MSGID.OK),
  groupid: GroupId.optional(),
  group: Group.optional(),
  friend: Friend.optional(),
  /** In the place of the one in use, after CHANGE_PASSWORD. */
  token: z.string().optional(),
  req,
});
export type Ok = z.infer<typeof Ok>;

/** PRESENCE (20): a friend or fellow member came or went. */
export const Presence = z.object({ msgid: z.literal(MSGID.PRESENCE), id: UserId, state: State });
export type Presence = z.infer<typeof Presence>;

/** BYE (21): the server closes the connection after it, for this reason. */
export const Bye = z.object({
  msgid: z.literal(MSGID.BYE),
  errno: z.int(),
  errmsg: z.string(),
  retryAfterMs: z.number().optional(),
});
export type Bye = z.infer<typeof Bye>;

/** DELIVERED (22), only with `want: ["delivered"]`: `id` has received these messages. */
export const Delivered = z.object({
  msgid: z.literal(MSGID.DELIVERED),
  id: UserId,
  mids: z.array(Mid),
});
export type Delivered = z.infer<typeof Delivered>;

/** Whatever a server sends to a v2 client. */
export const ServerMessage = z.discriminatedUnion("msgid", [
  LoginAck,
  RegisterAck,
  OneChatPush,
  GroupChatPush,
  ErrorMessage,
  ChatAck,
  Ping,
  Pong,
  HistoryAck,
  Ok,
  Presence,
  Bye,
  Delivered,
  Typing,
]);
export type ServerMessage = z.infer<typeof ServerMessage>;
