/**
 * What the checker has found wrong, in the order of finding.
 *
 * Invariant: what is wrong with a message in a history is said once, for every member reads the same.
 */

/** What can be wrong. */
export type Kind =
  | "acknowledged but never seen"
  | "queued but never seen"
  | "queued but never acknowledged"
  | "refused for good"
  | "acknowledged twice under different ids"
  | "seen twice"
  | "seen by a stranger"
  | "seen but never sent"
  | "changed on the way"
  | "out of order"
  | "reply before its cause"
  | "stuck pending row"
  | "ghost in presence"
  | "missing in presence"
  | "acknowledged but not in history"
  | "queued but not in history"
  | "twice in history"
  | "history has another id"
  | "history out of order"
  | "history has a reply before its cause"
  | "no evidence";

/** One thing that is wrong. */
export interface Violation {
  readonly kind: Kind;
  readonly text: string;
  /** The message it is about: `sender.number`. */
  readonly message?: string;
  /** Another message that plays a part. */
  readonly other?: string;
  /** Who saw it so, or did not. */
  readonly users?: readonly number[];
}

/** The findings of one run. */
export class Findings {
  readonly violations: Violation[] = [];
  readonly #saidOfHistory = new Set<string>();

  /** Something is wrong; see {@linkcode Violation} for what the parameters are. */
  wrong(
    kind: Kind,
    text: string,
    message?: string,
    other?: string,
    users?: readonly number[],
  ): void {
    if (kind.includes("history") && message !== undefined) {
      const said = `${kind} ${message}`;
      if (this.#saidOfHistory.has(said)) return;
      this.#saidOfHistory.add(said);
    }
    this.violations.push({
      kind,
      text,
      ...(message !== undefined && { message }),
      ...(other !== undefined && { other }),
      ...(users !== undefined && { users }),
    });
  }
}
