/**
 * What a sender is told of a chat once the store has decided on it, and what its session remembers.
 * The store decides, nobody is told twice; a v1 sender hears of refusals only.
 */

import { ChatError } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { refuse } from "../handlers/dispatch.ts";
import type { Host } from "../handlers/types.ts";
import type { Message, Mid } from "../ports.ts";
import { targetKey } from "../sessions/sent_chats.ts";
import type { Session } from "../sessions/session.ts";
import type { Outcome, Submission } from "../store/store_client.ts";

/** Answers the sender of a chat that the store has decided on. */
export function answerOutcome(submission: Submission<Session>, outcome: Outcome, host: Host): void {
  const { session, seq, message } = submission;
  switch (outcome.status) {
    case "stored":
      return acknowledge(submission, message.mid, message.ts, host);
    case "duplicate":
      observeFirst(session, message, outcome.mid, host);
      // Nobody was pushed it now, and who was to be hinted at by the node that stored it may never be.
      if (submission.pushed === undefined) hint(message, host);
      return acknowledge(submission, outcome.mid, outcome.ts, host);
    case "mailbox_busy":
      host.putOff(session, message.cid, seq);
      return refuseChat(
        submission,
        new ChatError("TRY_LATER", "the recipient's mailbox is full, try again later"),
        host,
      );
    case "try_later":
      host.putOff(session, message.cid, seq);
      return refuseChat(submission, new ChatError("TRY_LATER"), host);
    case "no_such_target":
      return refuseChat(submission, new ChatError("NO_SUCH_TARGET"), host);
    case "not_permitted":
      return refuseChat(
        submission,
        new ChatError("NOT_PERMITTED", "you are no member of this group"),
        host,
      );
    // For good: were it to be tried again, it would hold up what its sender writes to others.
    case "mailbox_full":
      return refuseChat(
        submission,
        new ChatError("NOT_PERMITTED", "the recipient's mailbox is full of what you wrote"),
        host,
      );
    default:
      return outcome satisfies never;
  }
}

function hint({ from, toid, groupid }: Message, host: Host): void {
  const members = host.groups.peek(groupid)?.members ?? [];
  const users = groupid === 0 ? [toid] : members.filter((user) => user !== from);
  host.registry.tell({ type: "hints", users });
}

function acknowledge(
  { session, req, message }: Submission<Session>,
  mid: Mid,
  ts: number,
  host: Host,
): void {
  if (session.v === 1) return;
  host.meters.sent.inc(MSGID.CHAT_ACK);
  const cid = JSON.stringify(message.cid);
  const label = req === undefined ? "" : `,"req":${JSON.stringify(req)}`;
  host.replyText(
    session,
    `{"msgid":${MSGID.CHAT_ACK},"cid":${cid},"mid":"${mid}","ts":${ts}${label}}`,
  );
}

/**
 * An earlier attempt was stored under its own `mid`: what is stamped next follows that one. It must
 * not follow ours, which is void, and may be later: the first attempts of what comes next may still
 * be stored by another node, under ids that follow `mid`.
 */
function observeFirst(session: Session, message: Message, mid: Mid, host: Host): void {
  host.hlc.observe(mid);
  const key = targetKey(message.toid, message.groupid);
  const last = session.sent.last(key); // none: it has to be read
  if (last !== undefined && (mid > last || last === message.mid)) session.sent.stamped(key, mid);
}

function refuseChat(
  { session, req, message }: Submission<Session>,
  error: ChatError,
  host: Host,
): void {
  const cid = session.v === 2 ? message.cid : undefined;
  refuse(session, { msgid: MSGID.ONE_CHAT, cid, req }, error, host);
}
