/** A sampled call tree → time per function, and the tree merged for a flame graph. */

import type { CpuProfile } from "./inspector.ts";

/** V8's names for time without JavaScript: waiting, and native code outside of any function. */
const IDLE = "(idle)";

/** Time of one function in a thread, ms. */
export interface FunctionTime {
  readonly name: string;
  /** In the function itself, native calls without a frame of their own included. */
  selfMs: number;
  /** In it and what it called; recursion counts once. */
  totalMs: number;
}

/** A frame of the flame graph; children of the same name are merged. */
export interface Frame {
  readonly name: string;
  ms: number;
  readonly children: Map<string, Frame>;
}

/** What one thread did. */
export interface Tally {
  /** Sampled time, ms. */
  readonly wallMs: number;
  /** Of it not waiting. */
  readonly busyMs: number;
  /** Descending by own time. */
  readonly functions: readonly FunctionTime[];
  readonly flame: Frame;
}

function nameOf(frame: { functionName: string; url: string; lineNumber: number }): string {
  const name = frame.functionName === "" ? "(anonymous)" : frame.functionName;
  if (frame.url === "") return name;
  // The last three parts tell actors/store/store.ts from client/store.ts, and npm packages apart.
  const path = frame.url.replace(/[?#].*$/, "").split("/").slice(-3).join("/");
  return `${name} ${path}:${frame.lineNumber + 1}`;
}

/** Adds up a profile's samples. */
export function tally(profile: CpuProfile): Tally {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const selfMs = new Map<number, number>();
  let wallMs = 0;
  profile.samples.forEach((id, i) => {
    // A delta is the time since the sample before: it belongs to what that one saw.
    const ms = Math.max(0, profile.timeDeltas[i + 1] ?? 0) / 1000;
    wallMs += ms;
    selfMs.set(id, (selfMs.get(id) ?? 0) + ms);
  });

  const times = new Map<string, FunctionTime>();
  const root: Frame = { name: "all", ms: 0, children: new Map() };
  let idleMs = 0;
  const visit = (id: number, parent: Frame, stack: ReadonlySet<string>): number => {
    const node = nodes.get(id);
    if (node === undefined) return 0;
    const own = selfMs.get(id) ?? 0;
    const name = nameOf(node.callFrame);
    if (name === IDLE) {
      idleMs += own;
      return 0;
    }
    const frame = parent.children.get(name) ?? { name, ms: 0, children: new Map() };
    parent.children.set(name, frame);
    const inner = new Set(stack).add(name);
    let total = own;
    for (const child of node.children ?? []) total += visit(child, frame, inner);
    frame.ms += total;
    const time = times.get(name) ?? { name, selfMs: 0, totalMs: 0 };
    times.set(name, time);
    time.selfMs += own;
    if (!stack.has(name)) time.totalMs += total;
    return total;
  };
  const top = profile.nodes[0];
  for (const child of top?.children ?? []) root.ms += visit(child, root, new Set());
  return {
    wallMs,
    busyMs: wallMs - idleMs,
    functions: [...times.values()].sort((a, b) => b.selfMs - a.selfMs),
    flame: root,
  };
}
