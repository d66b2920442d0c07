/**
 * What `deno task admin` and a node say over the node's socket: one JSON line each way. The socket
 * is a file in the data directory that only the node's user may open: who can is trusted.
 */

import { z } from "zod";
import { COMMANDS } from "./commands.ts";

const NAMES = COMMANDS.map((each) => each.name);

/** Longest argument or password of a command, in UTF-16 units. */
export const MAX_ARGUMENT_UNITS = 256;

/** A command for a node. */
export const AdminRequest = z.object({
  command: z.enum(NAMES as [typeof NAMES[number], ...typeof NAMES]),
  argument: z.string().max(MAX_ARGUMENT_UNITS),
  /** reset-password: the new one; a random one when it is missing. */
  password: z.string().min(1).max(MAX_ARGUMENT_UNITS).optional(),
});
/** A command for a node. */
export type AdminRequest = z.infer<typeof AdminRequest>;

/** A line of the answer's table. */
export const AdminRow = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
/** A line of the answer's table. */
export type AdminRow = z.infer<typeof AdminRow>;

/** What a command gave. */
export const AdminResult = z.object({
  rows: z.array(AdminRow),
  /** Nodes of the cluster that did not answer in time: nothing of theirs is in the rows. */
  silent: z.array(z.string()),
});
/** What a command gave. */
export type AdminResult = z.infer<typeof AdminResult>;

/** A node's answer. */
export const AdminAnswer = z.union([AdminResult, z.object({ error: z.string() })]);
/** A node's answer. */
export type AdminAnswer = z.infer<typeof AdminAnswer>;
