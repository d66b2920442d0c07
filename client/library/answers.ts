/**
 * What the server says, as the library tells it: answers as results and errors, the rest as events.
 * No state.
 */

import { type LoginAck, MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { RequestError } from "./errors.ts";
import type { ClientEvent, Session } from "./events.ts";

/**
 * The answer, unless it is a refusal.
 *
 * @throws {RequestError} The server refused.
 */
export function refused(answer: ServerMessage): ServerMessage {
  if (!("errno" in answer) || answer.errno === 0) return answer;
  const after = "retryAfterMs" in answer ? answer.retryAfterMs : undefined;
  throw new RequestError(answer.errno, answer.errmsg ?? `errno ${answer.errno}`, after);
}

/** The error for an answer that belongs to another request. */
export function unexpected(request: string, answer: ServerMessage): RequestError {
  return new RequestError(4, `${request} was answered with msgid ${answer.msgid}`);
}

/** The session that a LOGIN_ACK opens. */
export function sessionOf(ack: LoginAck): Session {
  return {
    id: ack.id ?? 0,
    name: ack.name ?? "",
    friends: ack.friends ?? [],
    groups: ack.groups ?? [],
    token: ack.token ?? "",
    node: ack.node ?? "",
  };
}

/** The event for a message that belongs to no chat and no request; undefined when there is none. */
export function eventOf(message: ServerMessage): ClientEvent | undefined {
  switch (message.msgid) {
    case MSGID.ERROR:
      return { type: "error", errno: message.errno, errmsg: message.errmsg };
    case MSGID.PRESENCE:
      return { type: "presence", id: message.id, state: message.state };
    case MSGID.DELIVERED:
      return { type: "delivered", id: message.id, mids: message.mids };
    case MSGID.TYPING: {
      const { id, name, groupid } = message;
      return id === undefined ? undefined : { type: "typing", id, name, groupid };
    }
    case MSGID.BYE:
      return {
        type: "bye",
        errno: message.errno,
        errmsg: message.errmsg,
        ...(message.retryAfterMs !== undefined && { retryAfterMs: message.retryAfterMs }),
      };
    case MSGID.ONE_CHAT: // a message, which the inbox takes
    case MSGID.GROUP_CHAT:
    case MSGID.CHAT_ACK: // for the sender
    case MSGID.PING: // answered by the connection
    case MSGID.PONG:
    case MSGID.LOGIN_ACK: // answers to requests that have been given up
    case MSGID.REGISTER_ACK:
    case MSGID.HISTORY_ACK:
    case MSGID.OK:
      return undefined;
    default:
      return message satisfies never;
  }
}
