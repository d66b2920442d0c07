/**
 * Finds the next JSON object in a buffer and the few fields the generator reads, in one pass.
 * Not a JSON parser: it trusts that a server sends well-formed objects and reads only top-level
 * keys. Objects may be glued, or separated by anything that is no brace.
 * Invariant: a field's offset is -1 unless the object found has it.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const M = 0x6d; // msgid, msg, mid
const C = 0x63; // cid
const E = 0x65; // errno

/** Whether the key `name` stands at `at` (after its opening quote), with its closing quote and colon. */
function isKey(buffer: Uint8Array, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (buffer[at + i] !== name.charCodeAt(i)) return false;
  return buffer[at + name.length] === QUOTE && buffer[at + name.length + 1] === 0x3a;
}

/** The number written at `at`; 0 when there is none. Spaces before it are skipped. */
export function readNumber(buffer: Uint8Array, at: number): number {
  let i = at;
  while (buffer[i] === 0x20) i++;
  let value = 0;
  for (;; i++) {
    const digit = (buffer[i] ?? 0) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return value;
    value = value * 10 + digit;
  }
}

/** Scans one buffer after another; the fields describe the object found last. */
export class Scanner {
  /** Offset of the opening brace; after `next` gave false, where the unfinished rest begins. */
  start = 0;
  /** Offset behind the closing brace. */
  end = 0;
  /** Its msgid, 0 when it has none. */
  msgid = 0;
  /** Offset of the first character of the text `msg`. */
  msgAt = -1;
  /** Offset of the opening quote of `mid`. */
  midAt = -1;
  /** Offset of the first character of `cid`. */
  cidAt = -1;
  /** Value of `errno`, -1 when it has none. */
  errno = -1;

  /** Looks for an object that is complete between `from` and `limit`. */
  next(buffer: Uint8Array, from: number, limit: number): boolean {
    let i = from;
    while (i < limit && buffer[i] !== OPEN) i++;
    this.start = i;
    this.msgid = 0;
    this.msgAt =
      this.midAt =
      this.cidAt =
      this.errno =
        -1;
    let depth = 0;
    for (; i < limit; i++) {
      const byte = buffer[i];
      if (byte === QUOTE) {
        if (depth === 1) this.#key(buffer, i + 1);
        for (i++; i < limit; i++) {
          const inner = buffer[i];
          if (inner === QUOTE) break;
          if (inner === BACKSLASH) i++;
        }
      } else if (byte === OPEN) {
        depth++;
      } else if (byte === CLOSE && --depth === 0) {
        this.end = i + 1;
        return true;
      }
    }
    return false;
  }

  #key(buffer: Uint8Array, at: number): void {
    const first = buffer[at];
    if (first === M) {
      if (isKey(buffer, at, "msgid")) this.msgid = readNumber(buffer, at + 7);
      else if (isKey(buffer, at, "msg")) this.msgAt = at + 6;
      else if (isKey(buffer, at, "mid")) this.midAt = at + 5;
    } else if (first === C) {
      if (isKey(buffer, at, "cid")) this.cidAt = at + 6;
    } else if (first === E) {
      if (isKey(buffer, at, "errno")) this.errno = readNumber(buffer, at + 7);
    }
  }
}
