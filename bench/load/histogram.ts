/**
 * Counts durations without keeping each: log-linear buckets, exact below 1,024 µs and within
 * 0.1 % above. Adding costs a few nanoseconds and no memory. Histograms of several generators add
 * up, so a percentile is one of all samples, never a mean of percentiles.
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

/** A distribution of durations in microseconds. */
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

  /** Non-empty buckets as [bucket, count, …], for `absorb` in another process. */
  toJSON(): number[] {
    const sparse: number[] = [];
    this.#counts.forEach((count, bucket) => {
      if (count > 0) sparse.push(bucket, count);
    });
    return sparse;
  }

  /** Adds what another histogram's `toJSON` gave. */
  absorb(sparse: readonly number[]): void {
    for (let i = 0; i + 1 < sparse.length; i += 2) {
      const bucket = sparse[i] ?? 0;
      const count = sparse[i + 1] ?? 0;
      if (bucket < 0 || bucket >= BUCKETS) continue;
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
      this.#total += count;
    }
  }
}
