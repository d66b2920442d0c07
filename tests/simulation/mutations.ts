/**
 * The mechanism broken on purpose, in the harness only, one way at a time. Each has to be noticed:
 * a simulation that cannot fail proves nothing.
 */

import type { RegistryMessage } from "../../actors/routing/registry.ts";
import type { Session } from "../../actors/sessions/session.ts";
import type { SessionHost } from "../../actors/worker/session_host.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** One way of breaking it. */
export interface Mutation {
  readonly name: string;
  /** The seed from which it is looked for, where few schedules notice it. @default 1 */
  readonly from?: number;
  /** Recipients do not recognise repeats. */
  readonly noDedupe?: boolean;
  /** Clients do not tell at a login what they have seen. */
  readonly noSeen?: boolean;
  /** Changes the world before anything runs. */
  world?(world: World): void;
  /** Changes each run of a node before its threads start. */
  node?(node: SimNode): void;
  /** Changes each session worker before it starts. */
  host?(host: SessionHost): void;
}

/** All of them, by what is wrong. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: "acknowledged before it is committed",
    world: ({ database }) => database.faults.answerFirst = true,
  },
  {
    name: "pending rows are not read at login",
    host: (host) => host.startPull = (session) => session.stopPulling(),
  },
  {
    name: "hints are dropped and sessions are never checked",
    node: (node) => ignore(node, "hints"),
    host: withoutPeriodicCheck,
  },
  { name: "recipients do not recognise repeats", noDedupe: true },
  {
    name: "the sender's previous message is not named in a push",
    host({ router }) {
      const pushTo = router.pushTo.bind(router);
      router.pushTo = (message, user, notify) => pushTo({ ...message, prev: "" }, user, notify);
    },
  },
  {
    name: "one cid is stored twice",
    world: ({ database }) => database.tables.flaws.duplicateCids = true,
  },
  {
    name: "receipts are lost",
    host: (host) => host.received = () => {},
  },
  {
    name: "clocks do not move past what they see",
    host: ({ hlc }) => hlc.observe = () => {},
  },
  {
    name: "a chat sent again is not waited for",
    host: (host) =>
      eachSession(host, (session) => session.frames.whenFinished = () => Promise.resolve()),
  },
  {
    name: "what is stamped after a repeat follows its void id",
    from: 5_401,
    host: (host) => eachSession(host, keepingLatest),
  },
  { name: "a login does not tell what its client has seen", from: 5_701, noSeen: true },
  {
    name: "a closed connection keeps its entry",
    node: (node) => ignore(node, "closed"),
  },
  {
    name: "a dead node keeps its users",
    node: (node) => ignore(node, "node_down"),
  },
];

function eachSession(host: SessionHost, change: (session: Session) => void): void {
  const startPull = host.startPull.bind(host);
  host.startPull = (session) => {
    change(session);
    startPull(session);
  };
}

function keepingLatest({ sent }: Session): void {
  const stamped = sent.stamped.bind(sent);
  sent.stamped = (key, mid) => {
    if (mid > (sent.last(key) ?? "")) stamped(key, mid);
  };
}

function ignore({ registry }: SimNode, type: RegistryMessage["type"]): void {
  const receive = registry.receive.bind(registry);
  registry.receive = (message) => message.type === type ? undefined : receive(message);
}

/** The first timer a host sets is that of its periodic check, which sets itself again. */
function withoutPeriodicCheck(host: SessionHost): void {
  const { clock } = host;
  let timers = 0;
  const after: typeof clock.after = (ms, fn) => timers++ === 0 ? () => {} : clock.after(ms, fn);
  Object.defineProperty(host, "clock", { value: { now: () => clock.now(), after } });
}
