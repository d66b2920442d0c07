/**
 * A message on its way to its recipients in one worker, with its text for each protocol version.
 */

import type { Message } from "../ports.ts";
import { pushTextV1, pushTextV2 } from "./push_text.ts";
import type { LocationCode } from "../routing/replica.ts";

/** A message on its way to sessions of one worker: one object for all of them. */
export class Delivery {
  #v1: string | undefined;
  #v2: string | undefined;
  /** Turn and version whose bytes hold the encoded text, at the range that follows. */
  encodedFor = 0;
  encodedAt = 0;
  encodedBytes = 0;
  /** Ranges before that one, of a text for v1 that goes out in pieces: pairs of offset and length. */
  encodedBefore: readonly number[] = [];
  /** Read from the pending rows: its live push may still come. */
  pulled = false;

  /**
   * @param origin Where receipts go: 0 the store of this node, else a worker of another node.
   * @param notify Whether its sender may want to be told of receipts.
   * @param live Pushed as it came, not read from the pending rows.
   */
  constructor(
    readonly message: Message,
    readonly origin: LocationCode,
    readonly notify: boolean,
    readonly live = true,
  ) {}

  text(v: 1 | 2): string {
    if (v === 2) return this.#v2 ??= pushTextV2(this.message);
    return this.#v1 ??= pushTextV1(this.message);
  }
}
