/**
 * Log lines on stderr: JSON objects, or plain text where a person watches. Never any secret.
 *
 * Invariant: whoever logs neither waits nor fails, whatever becomes of stderr: a disk that is full, a
 * reader that is gone or stands still. What cannot be written is dropped and counted.
 */

import { LOG_LEVELS, type LogLevel } from "../settings/config.ts";

/** Writes lines of at least one severity. */
export interface Log {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

/** A program's log. */
export interface ProgramLog extends Log {
  /** Lines that were not written. */
  dropped(): number;
  /** Resolves once what was logged is written or dropped, at the latest after `ms`. */
  flushed(ms: number): Promise<void>;
}

/** What takes the bytes. */
export interface LogWriter {
  /** @returns How many it took. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Most bytes that wait for the writer. */
const MAX_WAITING_BYTES = 1024 * 1024;

/** A log that drops what is below `level`. */
export function createLog(
  level: LogLevel,
  pretty: boolean,
  writer: LogWriter = Deno.stderr,
): ProgramLog {
  const least = LOG_LEVELS.indexOf(level);
  const lines = new Lines(writer);
  const at = (severity: LogLevel) => (event: string, fields: Record<string, unknown> = {}) => {
    if (LOG_LEVELS.indexOf(severity) < least) return;
    const time = new Date().toISOString();
    lines.add(
      pretty
        ? `${time.slice(11, 19)} ${severity.padEnd(5)} ${event}${plain(fields)}`
        : JSON.stringify({ time, level: severity, event, ...fields }),
    );
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    dropped: () => lines.dropped,
    flushed: (ms) => lines.flushed(ms),
  };
}

function plain(fields: Record<string, unknown>): string {
  return Object.entries(fields).map(([key, value]) =>
    ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
  ).join("");
}

/** Lines on their way to a writer, in order. When too many wait the latest go: the first say why. */
class Lines {
  readonly #writer: LogWriter;
  readonly #encoder = new TextEncoder();
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #draining: Promise<void> | undefined;
  dropped = 0;

  constructor(writer: LogWriter) {
    this.#writer = writer;
  }

  add(line: string): void {
    const bytes = this.#encoder.encode(line + "\n");
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.dropped++;
      return;
    }
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#draining ??= this.#drain();
  }

  async flushed(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([this.#draining, late]);
    clearTimeout(timer);
  }

  /** Never rejects. */
  async #drain(): Promise<void> {
    for (let line = this.#waiting.shift(); line !== undefined; line = this.#waiting.shift()) {
      try {
        let rest = line;
        while (rest.length > 0) rest = rest.subarray(await this.#writer.write(rest));
      } catch {
        this.dropped++; // there is nowhere to tell it but the metric
      }
      this.#waitingBytes -= line.length;
    }
    this.#draining = undefined;
  }
}
