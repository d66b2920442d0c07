/**
 * Sessions of the whole cluster: what this node knows, and what every other node answers over the
 * bus within a deadline. A node that does not answer is named, never waited for.
 *
 * Invariant: of one node at most a page is on the bus at a time, so that chat goes on beside it.
 */

import { z } from "zod";
import {
  ADMIN_ACTOR,
  type AdminEnvelope,
  type BridgeMessage,
} from "../../actors/routing/bridge.ts";
import type { NodeId, UserId } from "../../actors/ports.ts";
import type { Actor, ActorSystem, Ref } from "../../actors/runtime/runtime.ts";
import type { Log } from "../observe/log.ts";
import { AdminRow } from "./protocol.ts";
import type { EndReason, NodeSessions, SessionPage } from "./sessions.ts";

/** How long one node may take for a whole answer, ms: less than whoever asks waits for all. */
const PEER_MS = 5_000;

/** A question to a node. */
const Question = z.discriminatedUnion("op", [
  z.object({ op: z.literal("list"), user: z.number(), after: z.number() }),
  z.object({ op: z.literal("end"), conn: z.number() }),
  z.object({
    op: z.literal("end_user"),
    user: z.number(),
    why: z.enum(["disconnected", "password"]),
  }),
]);
type Question = z.infer<typeof Question>;

const PeerText = z.union([
  z.object({ ask: z.number(), question: Question }),
  z.object({ re: z.number(), rows: z.array(AdminRow), next: z.number() }),
]);

/** What nodes answered together. */
export interface ClusterAnswer {
  readonly rows: AdminRow[];
  /** Nodes that did not answer in time: what is there is not in `rows`, and may not be done. */
  readonly silent: NodeId[];
}

/** What the cluster's side of administration needs. */
export interface ClusterParts {
  readonly system: ActorSystem;
  readonly log: Log;
  readonly bridge: Ref<BridgeMessage>;
  readonly node: NodeId;
  /** Other nodes that are alive as far as is known. */
  readonly peers: () => readonly NodeId[];
  readonly own: NodeSessions;
}

/** See the module's header. */
export class ClusterSessions implements Actor<AdminEnvelope> {
  readonly #parts: ClusterParts;
  readonly #waiting = new Map<number, { node: NodeId; resolve: (page: SessionPage) => void }>();
  #asked = 0;

  /** Becomes the thread's admin actor. */
  constructor(parts: ClusterParts) {
    this.#parts = parts;
    parts.system.spawn<AdminEnvelope>(ADMIN_ACTOR, () => this);
  }

  /** @param user 0 for everybody. */
  list(user: UserId): Promise<ClusterAnswer> {
    return this.#askAll({ op: "list", user, after: 0 });
  }

  /** Ends one connection of one node. Undefined when no such node is known. */
  end(node: NodeId, conn: number): Promise<ClusterAnswer> | undefined {
    const { peers, node: own } = this.#parts;
    if (node !== own && !peers().includes(node)) return undefined;
    return this.#askEach([node], { op: "end", conn });
  }

  /** Ends every session of a user, wherever it is: what is known of the location may be old. */
  endUser(user: UserId, why: EndReason): Promise<ClusterAnswer> {
    return this.#askAll({ op: "end_user", user, why });
  }

  receive({ node, text }: AdminEnvelope): void {
    const message = PeerText.safeParse(parsed(text));
    if (!message.success) {
      this.#parts.log.warn("another node's admin message is not understood", { node });
    } else if ("ask" in message.data) {
      const { ask, question } = message.data;
      if (question.op !== "list") {
        this.#parts.log.info("admin command of another node", { node, ...question });
      }
      this.#say(node, { re: ask, ...this.#answer(question) });
    } else {
      const { re, ...page } = message.data;
      const waiting = this.#waiting.get(re);
      if (waiting?.node === node) waiting.resolve(page);
    }
  }

  #askAll(question: Question): Promise<ClusterAnswer> {
    const { node, peers } = this.#parts;
    return this.#askEach([node, ...peers()], question);
  }

  async #askEach(nodes: readonly NodeId[], question: Question): Promise<ClusterAnswer> {
    const end = performance.now() + PEER_MS;
    const answers = await Promise.all(nodes.map((node) => this.#askNode(node, question, end)));
    return {
      rows: answers.flatMap((rows) => rows ?? []),
      silent: nodes.filter((_, i) => answers[i] === undefined),
    };
  }

  /** All pages of one node; undefined when they have not come by `end`. */
  async #askNode(node: NodeId, question: Question, end: number): Promise<AdminRow[] | undefined> {
    const rows: AdminRow[] = [];
    for (let ask = question;;) {
      const page = node === this.#parts.node
        ? this.#answer(ask)
        : await this.#askPeer(node, ask, end - performance.now());
      if (page === undefined) return undefined;
      rows.push(...page.rows);
      if (page.next === 0 || ask.op !== "list") return rows;
      ask = { ...ask, after: page.next };
    }
  }

  #askPeer(node: NodeId, question: Question, ms: number): Promise<SessionPage | undefined> {
    const id = ++this.#asked;
    return new Promise((resolve) => {
      const done = (page: SessionPage | undefined) => {
        cancel();
        this.#waiting.delete(id);
        resolve(page);
      };
      const cancel = this.#parts.system.clock.after(Math.max(0, ms), () => done(undefined));
      this.#waiting.set(id, { node, resolve: done });
      this.#say(node, { ask: id, question });
    });
  }

  #answer(question: Question): SessionPage {
    const { own } = this.#parts;
    switch (question.op) {
      case "list":
        return own.page(question.user, question.after);
      case "end":
        return { rows: own.end(question.conn), next: 0 };
      case "end_user":
        return { rows: own.endUser(question.user, question.why), next: 0 };
      default:
        return question satisfies never;
    }
  }

  #say(node: NodeId, message: z.infer<typeof PeerText>): void {
    this.#parts.bridge.tell({ type: "admin", node, text: JSON.stringify(message) });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // no schema takes it
  }
}
