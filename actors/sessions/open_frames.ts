/**
 * Which frames of one session are finished: their chats durable or refused, everything else handled.
 * The main thread replays the others to a new worker when this one dies. Numbers only.
 */

/** See the module's header. */
export class OpenFrames {
  #handled = 0;
  /** Handled frames whose chat is not yet durable, oldest first. */
  #held: number[] = [];
  #awaited: { readonly seq: number; readonly resolve: () => void } | undefined;

  /** Frames that wait for a commit. */
  get held(): number {
    return this.#held.length;
  }

  /** Every frame up to this number is finished. */
  get finishedSeq(): number {
    const first = this.#held[0];
    return first === undefined ? this.#handled : first - 1;
  }

  /** Frame `seq` waits for a commit. */
  hold(seq: number): void {
    this.#held.push(seq);
  }

  /** Frame `seq` has been handled (a held one stays open). */
  handled(seq: number): void {
    this.#handled = seq;
  }

  /** The chat of frame `seq` is durable or refused; false when nothing waited for that. */
  finish(seq: number): boolean {
    if (this.#awaited?.seq === seq) {
      this.#awaited.resolve();
      this.#awaited = undefined;
    }
    const held = this.#held;
    const at = held[0] === seq ? 0 : held.indexOf(seq);
    if (at < 0) return false;
    if (at === 0) held.shift();
    else held.splice(at, 1);
    return true;
  }

  /** Resolves when the chat of frame `seq` is durable or refused; one at a time. */
  whenFinished(seq: number): Promise<void> {
    return new Promise((resolve) => this.#awaited = { seq, resolve });
  }
}
