/**
 * The buffer that one socket is read into: a little one of its own, so that an idle connection is
 * small, or a large one from a few that are lent to connections that have much to say.
 *
 * Invariant: at most MAX_LENT large buffers are lent, and `release` gives back what was borrowed.
 */

/** Size of a connection's own buffer, bytes. */
const IDLE_BYTES = 512;
/** Size of a large buffer, bytes: what a frame may have by default. */
const LARGE_BYTES = 64 * 1024;
/** Most buffers lent at a time, 4 MiB in all; beyond it a connection goes on with its small one. */
const MAX_LENT = 64;

const free: Uint8Array<ArrayBuffer>[] = [];
let lent = 0;

/** See the module's header. */
export class ReadBuffer {
  readonly #small = new Uint8Array(IDLE_BYTES);
  #bytes = this.#small;

  /** What the next read fills. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** The first `count` bytes, as a read has filled them; valid until the next. */
  filled(count: number): Uint8Array<ArrayBuffer> {
    return count === this.#bytes.length ? this.#bytes : this.#bytes.subarray(0, count);
  }

  /** A read of `count` bytes is dealt with: after a full one the next may be large, else small. */
  adapt(count: number): void {
    if (count < this.#bytes.length) this.release();
    else if (this.#bytes === this.#small && lent < MAX_LENT) {
      lent++;
      this.#bytes = free.pop() ?? new Uint8Array(LARGE_BYTES);
    }
  }

  /** Gives a borrowed buffer back; the small one is used from now on. */
  release(): void {
    if (this.#bytes === this.#small) return;
    lent--;
    free.push(this.#bytes);
    this.#bytes = this.#small;
  }
}
