/**
 * What a handler is and what it may use. A handler answers through the host, never a socket; it
 * throws a ChatError to refuse, which the dispatcher turns into the right answer.
 */

import type { ErrorCode } from "@chat/wire/errors.ts";
import type { z } from "zod";
import type { GroupCache } from "../routing/group_cache.ts";
import type { Quotas } from "../accounts/quotas.ts";
import type { GuardMessage } from "../accounts/guard.ts";
import type { HybridClock } from "../hlc.ts";
import type { Turn } from "../runtime/mailbox.ts";
import type { SessionMeters } from "../observe/meter.ts";
import type { Clock, Message, NodeId, PasswordPort, UserId } from "../ports.ts";
import type { PresenceWatch } from "../sessions/presence.ts";
import type { RegistryMessage } from "../routing/registry.ts";
import type { Replica } from "../routing/replica.ts";
import type { Router } from "../routing/router.ts";
import type { Ref } from "../runtime/runtime.ts";
import type { Session } from "../sessions/session.ts";
import type { StoreClient } from "../store/store_client.ts";
import type { TokenSigner } from "../accounts/tokens.ts";

/** An object for the client. */
export interface Answer {
  readonly msgid: number;
  readonly [field: string]: unknown;
}

/** Settings that handlers read. */
export interface SessionSettings {
  /** Node's name for clients, in LOGIN_ACK. */
  readonly node: string;
  /** This run of the node; part of the ids made for v1 messages. */
  readonly nodeId: NodeId;
  readonly heartbeatSeconds: number;
  /** How long a resume token lives, ms. */
  readonly tokenMs: number;
  /** Quotas of a user; 0: no limit. */
  readonly loginsPerMinute: number;
  readonly messagesPerMinute: number;
  readonly unitsPerMinute: number;
  readonly deliveriesPerMinute: number;
  /** Resume tokens that a user may have; 0: no limit. */
  readonly maxTokens: number;
  /** Most members of a group, and friends of a user; 0: no limit. */
  readonly maxGroup: number;
  readonly maxFriends: number;
  /** Most groups of a user; 0: no limit. */
  readonly maxGroups: number;
  /** Most bytes of an object for a v1 session, its end included; 0: any number. */
  readonly classicBytes: number;
  /** Messages of one worker that may wait for a commit. */
  readonly maxStoreQueue: number;
  /**
   * Length of pushes that may lack a receipt, UTF-16 units; at three bytes each they have to fit
   * what a socket may queue. @default MAX_UNRECEIPTED_UNITS
   */
  readonly windowUnits?: number;
}

/** The session worker as handlers see it. */
export interface Host {
  readonly clock: Clock;
  readonly hlc: HybridClock;
  readonly settings: SessionSettings;
  readonly store: StoreClient<Session>;
  readonly router: Router;
  readonly replica: Replica;
  readonly groups: GroupCache;
  readonly presence: PresenceWatch;
  readonly passwords: PasswordPort;
  readonly signer: TokenSigner;
  readonly registry: Ref<RegistryMessage>;
  readonly guard: Ref<GuardMessage>;
  readonly quotas: Quotas;
  readonly meters: SessionMeters;

  /** Sends an answer: one JSON object. */
  reply(session: Session, message: Answer): void;
  /** Sends an answer already in text, one JSON object without the final newline. */
  replyText(session: Session, text: string): void;
  /**
   * Stores a chat; its CHAT_ACK or ERROR follows after the commit.
   * @param urgent Somebody waits for that, or a recipient was not there for the push.
   * @param cost Rows that it may become: one, and one for each recipient of a group's.
   * @param pushed Whom it was pushed to; a recipient that turns out to be another gets it late.
   */
  submit(
    session: Session,
    message: Message,
    req: string | number | undefined,
    urgent: boolean,
    pushed: ReadonlySet<UserId> | UserId | undefined,
    cost: number,
  ): void;
  /** The session's login state changed: the main thread keeps a copy. */
  remember(session: Session): void;
  /** The chat of frame `seq` is answered with TRY_LATER: later ones wait until it comes again. */
  putOff(session: Session, cid: string, seq: number): void;
  /** Reads pending rows for a session that has just begun. */
  startPull(session: Session): void;
  /** A member of a group has come or gone; `size` is how many it has now, 0 when nobody came. */
  groupChanged(groupid: number, size: number): void;
  /**
   * Gives up everything that belongs to the login, and the online entry. Resolves once the user may
   * log in on any node, or that cannot be known in time. Never rejects.
   */
  leave(session: Session): Promise<void>;
  /** Sends BYE, then has the connection closed. */
  close(session: Session, code: ErrorCode, text: string): void;
  /** A v1 login answer: the pushes handed over in it count as received once it is written. */
  replyHandOver(session: Session, message: Answer): void;
}

/** Runs one kind of request; its turn ends when the promise does, if it returns one. */
export type Handler<T> = (session: Session, message: T, host: Host) => Turn;

/** When a request may come. */
export type Phase = "any" | "connected" | "loggedIn";

/** A row of the handler table for one protocol version. */
export interface HandlerEntry {
  readonly phase: Phase;
  /** Parses and runs; undefined when the message fits, else what is wrong with it. */
  readonly run: (session: Session, raw: unknown, host: Host) => Turn | string;
}

/** The rows of one feature: msgid and handler, and in which versions of the protocol. */
export interface Requests {
  readonly both?: readonly (readonly [number, HandlerEntry])[];
  readonly v1?: readonly (readonly [number, HandlerEntry])[];
  readonly v2?: readonly (readonly [number, HandlerEntry])[];
}

/** Binds a schema to its handler, so that a handler only ever sees what the schema allows. */
export function entry<S extends z.ZodType>(
  phase: Phase,
  schema: S,
  handler: Handler<z.output<S>>,
): HandlerEntry {
  return {
    phase,
    run(session, raw, host) {
      const parsed = schema.safeParse(raw);
      if (parsed.success) return handler(session, parsed.data, host);
      const issue = parsed.error.issues[0];
      const path = issue?.path.join(".") ?? "";
      return `${path === "" ? "" : `${path}: `}${issue?.message ?? "invalid"}`;
    },
  };
}

/** The field that echoes a request's label. */
export function echo(m: { readonly req?: string | number | undefined }): { req?: string | number } {
  return m.req === undefined ? {} : { req: m.req };
}
