/** What one generator process is told to do: its flags, checked. */

import { parseArgs } from "@std/cli/parse-args";
import { z } from "zod";

/** What a generator can do. Workloads (bench/suite/workloads.ts) combine these with numbers. */
export const WORKS = [
  "pairs", // flows of one sender and one receiver, closed loop
  "open", // the same at a fixed rate, latency from the intended time
  "group", // a sender and m - 1 online members per flow
  "groupoff", // a sender, one online and m offline members per flow
  "login", // connect, log in with the password, close
  "resume", // connect, RESUME with a token, close
  "idle", // log in and be silent
  "storm", // a node is killed; all its sessions RESUME on another
] as const;

const count = z.coerce.number().int();

const Flags = z.object({
  work: z.enum(WORKS),
  host: z.string(),
  /** Where senders connect, and everyone registers. */
  port: count.min(1).max(65535),
  /** Where receivers connect; 0: the same. */
  port2: count.min(0).max(65535),
  /** Flows, or users for login, resume, idle and storm. */
  n: count.min(1),
  /** Members of a group. */
  m: count.min(1),
  /** Messages in flight per flow; connections at a time for login and resume. */
  w: count.min(1),
  v: z.union([z.literal("1"), z.literal("2")]),
  /** Bytes of text beside the sequence number. */
  size: count.min(0).max(16_000),
  /** Messages per second, all flows together (open). */
  rate: z.coerce.number().positive(),
  /** Measured seconds, after `warm` seconds. */
  secs: z.coerce.number().positive(),
  warm: z.coerce.number().min(0),
  /** After the measured time: seconds without a message after which what is missing is lost. */
  drain: z.coerce.number().positive(),
  /** Registrations and log-ins at a time during set-up. */
  setup: count.min(1),
  /** Server processes whose CPU time and memory are read, comma-separated; may be empty. */
  pids: z.string().regex(/^(\d+(,\d+)*)?$/),
  /** Process to kill with SIGKILL (storm). */
  kill: count.min(0),
  /** Within how many ms the sessions of a storm come back, evenly spread; 0: all at once. */
  spread: z.coerce.number().min(0),
  /** A file to wait for between set-up and load, so that several generators begin together. */
  gate: z.string(),
}).strict();

/** Settings of one generator process. */
export type Settings = Omit<z.infer<typeof Flags>, "pids" | "v"> & {
  readonly v2: boolean;
  readonly pids: readonly number[];
};

/** @throws {z.ZodError} For an unknown or wrong flag. */
export function parseSettings(args: readonly string[]): Settings {
  const { _: [work], ...flags } = parseArgs(args, {
    default: {
      host: "127.0.0.1",
      port2: 0,
      n: 50,
      m: 20,
      w: 1,
      v: "1",
      size: 100,
      rate: 1000,
      secs: 5,
      warm: 1,
      drain: 5,
      setup: 8,
      pids: "",
      kill: 0,
      spread: 0,
      gate: "",
    },
    string: ["pids", "host", "v", "gate"],
  });
  const { pids, v, ...rest } = Flags.parse({ work, ...flags });
  return {
    ...rest,
    port2: rest.port2 === 0 ? rest.port : rest.port2,
    v2: v === "2",
    pids: pids === "" ? [] : pids.split(",").map(Number),
  };
}
