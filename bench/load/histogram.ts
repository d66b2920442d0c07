/**
 * Counts durations without keeping each: log-linear buckets, exact below 1,024 µs and within
 * 0.1 % above. Adding costs a few nanoseconds and no memory.
 */

const SUB_BITS = 10;
const SUB = 1 << SUB_BITS; // buckets per power of two
const OCTAVES = 22; // up to 2^32 µs, an hour
const BUCKETS = SUB * (OCTAVES + 1);

function bucketOf(us: number): number {
  const value = us < 0 ? 0 : us > 0xffff_ffff ? 0xffff_ffff : Math.floor(us);
  if (value < SUB) return value;
  const octave = 31 - Math.clz32(value) - SUB_BITS;
  return octave * SUB + Math.floor(value / 2 ** octave);
}

function valueOf(bucket: number): number {
  if (bucket < SUB) return bucket;
  const octave = Math.floor(bucket / SUB) - 1;
  return (bucket - octave * SUB) * 2 ** octave;
}

/** Percentiles in µs, -1 each when nothing was counted. */
export interface Distribution {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Counts durations in microseconds. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  /** Counts one duration. */
  add(us: number): void {
    const at = bucketOf(us);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#total++;
  }

  /** How many durations were counted. */
  get total(): number {
    return this.#total;
  }

  /** Duration in µs that `share` (0 to 1) of the samples do not exceed; -1 when there are none. */
  percentile(share: number): number {
    if (this.#total === 0) return -1;
    const rank = Math.max(1, Math.ceil(this.#total * share));
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.#counts[i] ?? 0;
      if (seen >= rank) return valueOf(i);
    }
    return -1;
  }

  /** The percentiles that are reported. */
  toJSON(): Distribution {
    return {
      count: this.#total,
      p50: this.percentile(0.5),
      p90: this.percentile(0.9),
      p99: this.percentile(0.99),
      p999: this.percentile(0.999),
      max: this.percentile(1),
    };
  }
}
