/**
 * Lookups that are asked for at about the same time share a statement. No SQL and no retries.
 *
 * While nothing is under way a turn's keys are read at once, and nobody waits for company; what is
 * asked for meanwhile is read together. So a reconnect storm costs one round trip for dozens of
 * users, and a lone login what it always cost.
 */

/** What is read together, and how. */
export interface BatchReaderOptions<K, V> {
  /** Values in the order of the keys. Rejects for all of them. */
  readonly read: (keys: readonly K[]) => Promise<readonly V[]>;
  /** Most keys of one read. */
  readonly most: number;
  /** Most reads under way. */
  readonly running: number;
}

interface Asked<K, V> {
  readonly key: K;
  readonly resolve: (value: V) => void;
  readonly reject: (error: unknown) => void;
}

/** See the module's header. */
export class BatchReader<K, V> {
  readonly #options: BatchReaderOptions<K, V>;
  #asked: Asked<K, V>[] = [];
  #running = 0;
  #scheduled = false;

  constructor(options: BatchReaderOptions<K, V>) {
    this.#options = options;
  }

  /** The value of one key. The queue is as long as callers wait: they bound it. */
  get(key: K): Promise<V> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ key, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.#start();
      });
    });
  }

  #start(): void {
    const { most, running } = this.#options;
    while (this.#running < running && this.#asked.length > 0) {
      const batch = this.#asked.length <= most ? this.#asked : this.#asked.slice(0, most);
      this.#asked = batch === this.#asked ? [] : this.#asked.slice(most);
      this.#running++;
      void this.#read(batch); // its failures are its callers'
    }
  }

  async #read(batch: readonly Asked<K, V>[]): Promise<void> {
    try {
      const values = await this.#options.read(batch.map(({ key }) => key));
      if (values.length !== batch.length) {
        throw new RangeError(`${batch.length} keys have ${values.length} values`);
      }
      values.forEach((value, i) => batch[i]?.resolve(value));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    this.#running--;
    this.#start();
  }
}

/**
 * As many values as the next power of two, the last one repeated: statements with a list are few,
 * so that the server keeps them prepared.
 */
export function padded<T>(values: readonly T[]): T[] {
  const last = values.at(-1);
  if (last === undefined) return [];
  const length = 2 ** Math.ceil(Math.log2(values.length));
  return [...values, ...Array<T>(length - values.length).fill(last)];
}
