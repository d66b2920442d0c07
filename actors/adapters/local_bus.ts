/**
 * The bus of a node that is alone: there is nobody to send to, and nobody else holds a user.
 * A single node's registry knows all sessions, so that a claim that reaches the bus is free.
 */

import type { BusPort, Claim, NodeId } from "../ports.ts";

const GRANTED: Promise<Claim> = Promise.resolve({ granted: true, previous: undefined });

/** Calls no handler, holds no resources, is never away. */
export function createLocalBus(node: NodeId): BusPort {
  return {
    node,
    counters: { dropped: 0, resets: 0 },
    start: () => Promise.resolve(),
    send: () => {},
    broadcast: () => {},
    claim: () => GRANTED,
    release: () => Promise.resolve(),
    announce: () => Promise.resolve(),
    problem: () => undefined,
    close: () => Promise.resolve(),
  };
}
