/** Log lines on stderr: JSON objects, or plain text where a person watches. Never any secret. */

import { LOG_LEVELS, type LogLevel } from "./config.ts";

/** Writes lines of at least one severity. */
export interface Log {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

/** A log that drops what is below `level`. */
export function createLog(level: LogLevel, pretty: boolean): Log {
  const least = LOG_LEVELS.indexOf(level);
  const encoder = new TextEncoder();
  const at = (severity: LogLevel) => (event: string, fields: Record<string, unknown> = {}) => {
    if (LOG_LEVELS.indexOf(severity) < least) return;
    const time = new Date().toISOString();
    const line = pretty
      ? `${time.slice(11, 19)} ${severity.padEnd(5)} ${event}${plain(fields)}`
      : JSON.stringify({ time, level: severity, event, ...fields });
    Deno.stderr.writeSync(encoder.encode(line + "\n"));
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function plain(fields: Record<string, unknown>): string {
  return Object.entries(fields).map(([key, value]) =>
    ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
  ).join("");
}
