/**
 * All sessions of one worker, as the actor "sessions". It runs frames through their session's
 * mailbox, passes on what other actors say to sessions, and is what the handlers share: replica,
 * router, store client, group cache, presence, the lane to the sockets.
 */

import { byeText } from "@chat/wire/bye.ts";
import { ERRNO, type ErrorCode } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";
import type { BusEnvelope } from "../routing/bridge.ts";
import { answerOutcome } from "./chat_outcomes.ts";
import type { Delivery } from "../sessions/delivery.ts";
import { dispatch, RETRY_AFTER_MS } from "../handlers/dispatch.ts";
import { GroupCache } from "../routing/group_cache.ts";
import { type GroupChanged, GroupChanges } from "./group_changes.ts";
import type { Answer, Host, SessionSettings } from "../handlers/types.ts";
import type { GuardMessage } from "../accounts/guard.ts";
import { Quotas } from "../accounts/quotas.ts";
import { HybridClock, type RandomBytes } from "../hlc.ts";
import { FairTurns } from "../runtime/fair_turns.ts";
import { eachFrame, type InLane, type Opened, PUSH_CLOSE, PUSH_NONE } from "../runtime/lane.ts";
import type { Link, ThreadId } from "../runtime/link.ts";
import { MessageSteps } from "./message_steps.ts";
import { HeldBack, type HeldBackLine } from "../observe/held_back.ts";
import { Meter, SessionMeters } from "../observe/meter.ts";
import { OutLaneWriter } from "./out_lane.ts";
import { EnvelopeInbox } from "./envelope_inbox.ts";
import { passwordClient, type PasswordMessage } from "../accounts/passwords.ts";
import {
  type Clock,
  type Message,
  type Mid,
  monotonicClock,
  type PasswordPort,
  type UserId,
} from "../ports.ts";
import { PresenceWatch } from "../sessions/presence.ts";
import { pull } from "./pull.ts";
import { RebuiltSessions } from "./rebuilt_sessions.ts";
import type { RegistryMessage, SessionCommand } from "../routing/registry.ts";
import { Replica, type ReplicaMessage } from "../routing/replica.ts";
import { type Envelope, type EnvelopeMessage, Router } from "../routing/router.ts";
import type { Actor, ActorSystem, Ref } from "../runtime/runtime.ts";
import { type Frame, type Outlet, Session } from "../sessions/session.ts";
import { SessionTable } from "./session_table.ts";
import type { Outcomes } from "../store/store_protocol.ts";
import { type Outcome, StoreClient, type Submission } from "../store/store_client.ts";
import type { MessageTracer } from "../observe/tracing.ts";
import { TokenSigner } from "../accounts/tokens.ts";

/** What the "sessions" actor takes. */
export type HostMessage =
  | SessionCommand
  | EnvelopeMessage
  | BusEnvelope
  | Outcomes
  | GroupChanged
  /** The store's thread is new. */
  | { readonly type: "store_restarted" };

/** What a worker is started with. */
export interface HostOptions {
  readonly index: number;
  /** Session workers of this node. */
  readonly workers: number;
  readonly storeThread: ThreadId;
  readonly passwordThreads: readonly ThreadId[];
  readonly settings: SessionSettings;
  readonly tokenKey: string;
  /** Runs at the end of the turn. */
  readonly later: (fn: () => void) => void;
  readonly log: (text: string, error?: unknown, conn?: number) => void;
  /** Told, within bounds, who is refused for being too fast or for there being too much to do. */
  readonly heldBack?: (line: HeldBackLine) => void;
  /** Counts what this worker does. @default one that nobody reads */
  readonly meter?: Meter;
  /** Notes the steps of some messages; none is noted without it. */
  readonly tracer?: MessageTracer | undefined;
  /** Randomness of message ids; seeded in simulation. */
  readonly random?: RandomBytes;
}

/** Every session is checked for pending rows about this often, ms, spread over the interval. */
const CHECK_EVERY_MS = 60_000;
const CHECK_TICK_MS = 1_000;
/** Longest wait for an online entry to be given up, ms: above the bus adapter's own (1 s). */
const RELEASE_MS = 3_000;
/** Appends without an outcome, in this worker, from which on v1 senders are slowed down too. */
const SLOW_ABOVE = 4_000;

/** See the module's header. */
export class SessionHost implements Actor<HostMessage>, Host, Outlet {
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

  readonly #system: ActorSystem;
  readonly #options: HostOptions;
  readonly #sessions = new SessionTable();
  readonly #turns: FairTurns;
  readonly #inbox: EnvelopeInbox;
  readonly #rebuilt: RebuiltSessions;
  readonly #groupChanges: GroupChanges;
  readonly #heldBack: HeldBack;
  readonly #out: OutLaneWriter;
  #checkAt = 0;
  /** When this turn's frames or outcomes came, and when the first of the frames was read, epoch ms. */
  #cameAt = 0;
  #readAt = 0;
  readonly #steps: MessageSteps | undefined;
  #cancelCheck: (() => void) | undefined;

  constructor(system: ActorSystem, options: HostOptions) {
    this.#system = system;
    this.#options = options;
    this.clock = system.clock;
    this.settings = options.settings;
    this.#turns = new FairTurns(this.clock);
    this.hlc = new HybridClock(() => this.clock.now(), options.random);
    this.#out = new OutLaneWriter(() => this.hlc.time, options.settings.classicBytes);
    this.registry = system.ref<RegistryMessage>(0, "registry");
    this.quotas = new Quotas(this.clock, options.settings);
    this.guard = system.ref<GuardMessage>(0, "guard");
    this.presence = new PresenceWatch(
      this.clock,
      (user) => this.replica.location(user) !== 0,
      (session, id, online) =>
        this.reply(session, {
          msgid: MSGID.PRESENCE,
          id,
          state: online ? "online" : "offline",
        }),
    );
    this.replica = new Replica((user, online) => this.presence.changed(user, online));
    this.#inbox = new EnvelopeInbox(this, this.#sessions);
    this.router = new Router(system, this.replica, options.index, this.#inbox, options.later);
    this.store = new StoreClient(
      system,
      options.storeThread,
      options.later,
      (submission, outcome) => this.#settled(submission, outcome),
      ({ message, session, pushed }, user) => {
        // Came online, or joined, while the message was on its way to the store; or nobody had it yet.
        const isGroup = message.groupid !== 0;
        if (isGroup && pushed !== undefined) this.groups.invalidate(message.groupid);
        this.router.pushTo(message, user, !isGroup && session.wantsDelivered);
      },
    );
    this.groups = new GroupCache(this.clock, (id) => this.store.call("group", id));
    const { index, workers, log } = options;
    const sessions = this.#sessions;
    this.#groupChanges = new GroupChanges(system, { host: this, sessions, index, workers, log });
    this.#rebuilt = new RebuiltSessions({ host: this, evict: (s) => this.#evict(s), log });
    this.passwords = passwordClient(
      options.passwordThreads.map((thread) => system.ref<PasswordMessage>(thread, "passwords")),
    );
    this.signer = new TokenSigner(options.tokenKey);
    const { tracer, settings: { node } } = options;
    if (tracer !== undefined) {
      this.#steps = new MessageSteps(tracer, () => this.clock.now(), { node, worker: index });
    }
    this.#heldBack = new HeldBack(monotonicClock, options.heldBack ?? (() => {}));
    const meter = options.meter ?? new Meter();
    this.meters = new SessionMeters(meter);
    meter.gauge("chat_mailbox_messages", () => this.#sessions.waitingFrames, "sessions");
  }

  /** Spawns the worker's actors and joins the lane of `link`, the link to the main thread. */
  start(link: Link): void {
    this.#out.attach(link);
    this.#system.spawn<HostMessage>("sessions", () => this, { onCrash: "escalate" });
    this.#system.spawn<ReplicaMessage>("replica", () => ({
      receive: (m) => {
        if (m.type === "node") this.#inbox.knowsNode(m.node, m.index);
        this.replica.apply(m);
        if (m.type === "snapshot") this.#rebuilt.locationsKnown();
      },
    }));
    this.store.attach();
    this.registry.tell({ type: "attach", worker: this.#options.index });
    this.#armCheck();
  }

  /** Sessions of this worker. */
  get size(): number {
    return this.#sessions.size;
  }

  // ── from the main thread ───────────────────────────────────────────────────────────────────

  /** A turn's frames. Never throws: a session that fails is closed, others go on. */
  receiveLane(lane: InLane): void {
    this.#cameAt = this.clock.now();
    this.#readAt = lane.readAt;
    this.hlc.pass(lane.time);
    this.#turns.next();
    for (const opened of lane.opened) this.#open(opened);
    eachFrame(lane, this.#take);
    const { written } = lane;
    for (let i = 0; i < written.length; i += 2) {
      const conn = written[i] ?? 0;
      const push = written[i + 1] ?? 0;
      this.#sessions.get(conn)?.written(push);
      this.#steps?.written(conn, push);
    }
    for (const conn of lane.closed) this.#close(conn);
  }

  readonly #take = (conn: number, seq: number, text: string): void => {
    const session = this.#sessions.get(conn);
    if (session === undefined || session.mailbox.offer({ seq, text })) return;
    this.close(session, "TOO_FAST", "too many requests wait for an answer");
  };

  #open({ conn, remote, memo, lastPush }: Opened): void {
    const session: Session = new Session(
      conn,
      remote,
      this,
      (frame) => this.#handle(session, frame),
      (error) => this.#crashed(session, error),
      this.settings.windowUnits,
      this.#turns,
    );
    this.#sessions.add(session);
    if (memo === undefined) return;
    session.restore(memo, lastPush, this.clock.now());
    if (session.user === 0) return;
    this.#sessions.enter(session);
    if (this.#rebuilt.add(session)) this.startPull(session);
  }

  #evict(session: Session): void {
    this.close(session, "ALREADY_ONLINE", "another connection took this session's place");
  }

  #handle(session: Session, frame: Frame): void | Promise<void> {
    if (session.closed) return;
    session.seq = frame.seq;
    const turn = dispatch(session, frame.text, this);
    if (turn === undefined) this.#handled(session, frame.seq);
    else return turn.then(() => this.#handled(session, frame.seq));
  }

  #handled(session: Session, seq: number): void {
    session.frames.handled(seq);
    this.#out.touch(session);
  }

  #crashed(session: Session, error: unknown): void {
    this.#options.log("session failed", error, session.conn);
    this.close(session, "TRY_LATER", "the server failed on this request");
  }

  #close(conn: number): void {
    const session = this.#sessions.get(conn);
    if (session === undefined) return;
    session.closed = true;
    session.mailbox.clear();
    this.#sessions.remove(session);
    this.#steps?.forget(conn);
    this.#forget(session);
  }

  #forget(session: Session): void {
    this.presence.unwatch(session);
    this.#sessions.leave(session);
  }

  // ── from other actors ──────────────────────────────────────────────────────────────────────

  receive(m: HostMessage): void {
    switch (m.type) {
      case "outcomes":
        this.#cameAt = this.clock.now();
        return this.store.receive(m);
      case "envelope":
        return this.#inbox.deliver(m.envelope, 0);
      case "bus":
        return this.#receiveBus(m);
      case "hint":
        for (const user of m.users) this.#sessions.ofUser(user)?.hinted();
        return;
      case "evict": {
        const session = this.#sessions.get(m.conn);
        if (session !== undefined) this.#evict(session);
        return;
      }
      case "group_changed":
        return this.#groupChanges.hear(m.groupid, m.size);
      case "store_restarted":
        return this.store.attach();
      default:
        return m satisfies never;
    }
  }

  #receiveBus(m: BusEnvelope): void {
    const notice = JSON.parse(m.text) as Envelope | { groupChanged: number; size: number }; // our own nodes' words
    if ("groupChanged" in notice) this.#groupChanges.hear(notice.groupChanged, notice.size);
    else this.#inbox.deliverFrom(m.node, m.worker, notice);
  }

  // ── for handlers ───────────────────────────────────────────────────────────────────────────

  reply(session: Session, message: Answer): void {
    this.#count(session, message);
    this.replyText(session, JSON.stringify(message));
  }

  replyText(session: Session, text: string): void {
    this.#frame(session, text, PUSH_NONE);
  }

  replyHandOver(session: Session, message: Answer): void {
    this.#count(session, message);
    this.#frame(session, JSON.stringify(message), session.handOverNumber());
  }

  submit(
    session: Session,
    message: Message,
    req: string | number | undefined,
    urgent: boolean,
    pushed: ReadonlySet<UserId> | UserId | undefined,
    cost: number,
  ): void {
    // A v1 client waits for no acknowledgement: its frame is finished once the store's thread has
    // it. But when the store falls behind, an unfinished frame is what slows a sender down.
    if (session.v === 2 || this.store.waiting >= SLOW_ABOVE) session.frames.hold(session.seq);
    this.store.append({ session, seq: session.seq, req, message, urgent, pushed, cost });
    this.#steps?.received(message, this.#readAt);
  }

  remember(session: Session): void {
    this.#sessions.enter(session);
    this.#out.remember(session);
  }

  putOff(session: Session, cid: string, seq: number): void {
    if (session.closed) return;
    session.sent.putOff(cid, seq, this.clock.now());
    this.remember(session);
  }

  startPull(session: Session): void {
    this.wantsPull(session);
  }

  groupChanged(groupid: number, size: number): void {
    this.#groupChanges.announce(groupid, size);
  }

  async leave(session: Session): Promise<void> {
    const { user, conn } = session;
    this.#forget(session);
    session.end();
    if (user === 0) return;
    try {
      await this.registry.ask<void>({ type: "release", user, conn }, RELEASE_MS);
    } catch (error) {
      this.#options.log("online entry of a user who has left", error, conn);
    }
  }

  /** Sends BYE, then has the main thread close the connection. */
  close(session: Session, code: ErrorCode, text: string): void {
    if (session.closed) return;
    this.meters.sent.inc(MSGID.BYE);
    this.#frame(session, byeText(code, text, RETRY_AFTER_MS), PUSH_CLOSE);
    session.closed = true;
    session.mailbox.clear();
    this.#forget(session);
  }

  // ── for sessions ───────────────────────────────────────────────────────────────────────────

  sendPush(session: Session, delivery: Delivery, pushNumber: number): void {
    this.meters.sent.inc(delivery.message.groupid === 0 ? MSGID.ONE_CHAT : MSGID.GROUP_CHAT);
    const number = this.#steps?.pushed(session, delivery.message, pushNumber) ?? pushNumber;
    this.#out.push(session, delivery, number);
  }

  received(user: UserId, mid: Mid, delivery: Delivery | undefined): void {
    if (delivery !== undefined) {
      this.meters.deliveries.inc(delivery.live ? 0 : 1);
      this.#steps?.done("receipt", delivery.message, user);
      if (delivery.live) this.meters.delivery.observe(this.#cameAt - delivery.message.ts);
    }
    if (delivery === undefined || delivery.origin === 0) this.store.receipt(user, mid);
    else this.router.receiptTo(delivery.origin, user, mid);
    if (delivery?.notify) this.router.deliveredTo(delivery.message.from, user, mid);
  }

  wantsPull(session: Session): void {
    void pull(session, this.#pullPorts); // never rejects
  }

  readonly #pullPorts = {
    clock: {
      now: () => this.clock.now(),
      after: (ms: number, fn: () => void) => this.clock.after(ms, fn),
    },
    pending: (user: UserId, after: Mid, limit: number) =>
      this.store.call("pending", user, after, limit),
    observe: (mid: Mid) => this.hlc.observe(mid),
    onFailure: (error: unknown) => this.#options.log("reading pending messages", error),
    random: () => this.#system.random(),
  };

  #settled(submission: Submission<Session>, outcome: Outcome): void {
    const { session, seq, message } = submission;
    if (session.frames.finish(seq) && !session.closed) this.#out.touch(session);
    if (session.closed || session.user !== message.from) return;
    if (outcome.status === "stored" || outcome.status === "duplicate") {
      this.meters.ack.observe(this.#cameAt - message.ts);
      this.#steps?.done("store", message, message.from);
    }
    answerOutcome(submission, outcome, this);
  }

  #frame(session: Session, text: string, push: number): void {
    if (!session.closed) this.#out.text(session, text, push);
  }

  #count(session: Session, { msgid, errno, errmsg }: Answer): void {
    this.meters.sent.inc(msgid);
    if (typeof errno !== "number" || errno === 0) return;
    this.meters.rejected.inc(errno);
    if (errno === ERRNO.TOO_FAST.errno || errno === ERRNO.TRY_LATER.errno) {
      this.#heldBack.note(session.remote, session.user, String(errmsg));
    }
  }

  /** Now and then every session is checked for rows whose push and hints were all lost (G4). */
  #armCheck(): void {
    this.#cancelCheck = this.clock.after(CHECK_TICK_MS, () => {
      const ticks = CHECK_EVERY_MS / CHECK_TICK_MS;
      this.#checkAt = (this.#checkAt + 1) % ticks;
      for (const session of this.#sessions.loggedIn()) {
        if (Math.floor(session.conn / 64) % ticks === this.#checkAt) session.pull();
      }
      this.#rebuilt.retry();
      this.#armCheck();
    });
  }

  stop(): void {
    this.#cancelCheck?.();
  }
}
