/**
 * A message's number in the database, made of its mid: it grows with the mid's time, so that new
 * rows are added at one end, one index by conversation gives their order, and a mid is found without
 * an index of its own.
 *
 * A millisecond has SPAN ids; which of them a message has, says nothing. Within a millisecond rows are
 * sorted by mid when they are read. Mids of before 2024, and what does not fit into its millisecond,
 * have another's ids.
 */

import { midAt, midTime } from "../hlc.ts";
import type { Mid } from "../ports.ts";

/** Ids of a millisecond. With EPOCH_MS all ids are whole numbers of JavaScript until 2058. */
export const SPAN = 8_192;
const EPOCH_MS = Date.UTC(2024, 0, 1);
const LAST_BUCKET = Math.floor(Number.MAX_SAFE_INTEGER / SPAN) - 1;

const TIME_CHARS = 10;
const TAIL_CHARS = 16;
const ZERO = 0x30;

let lastTime = "";
let lastId = 0;

/** The first id of the millisecond that a mid belongs to. */
export function firstIdOf(mid: Mid): number {
  // Most are of the same millisecond as the one before.
  const time = mid.slice(0, TIME_CHARS);
  if (time === lastTime) return lastId;
  const bucket = Math.min(LAST_BUCKET, Math.max(0, midTime(mid) - EPOCH_MS));
  lastTime = time;
  return lastId = bucket * SPAN;
}

/** The first id of the millisecond that an id belongs to. */
export function firstIdNear(id: number): number {
  return id - id % SPAN;
}

/** When the ids of a millisecond were made, by the clock of the mid, epoch ms. */
export function timeOf(id: number): number {
  return EPOCH_MS + Math.floor(id / SPAN);
}

let lastBucket = -1;
let lastTimeText = "";

/** Characters of a mid that say when the ids of a millisecond were made. */
function timeTextOf(id: number): string {
  const bucket = Math.floor(id / SPAN);
  if (bucket !== lastBucket) {
    lastBucket = bucket;
    lastTimeText = midAt(timeOf(id)).slice(0, TIME_CHARS);
  }
  return lastTimeText;
}

/**
 * What has to be stored of a mid beside its id: nothing of the time that the id says already.
 * @param id What the message has got.
 */
export function tailOf(mid: Mid, id: number): string {
  if (mid.slice(0, TIME_CHARS) !== timeTextOf(id)) return mid;
  let start = TIME_CHARS;
  while (mid.charCodeAt(start) === ZERO) start++;
  return mid.slice(start);
}

/** The mid of a message that has an id and a tail. */
export function midOf(id: number, tail: string): Mid {
  if (tail.length > TAIL_CHARS) return tail;
  return timeTextOf(id) + tail.padStart(TAIL_CHARS, "0");
}
