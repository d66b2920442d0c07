/** Why a connection may end, for the log and the counters. */

/** Every reason; the counters show each from the start. */
export const CLOSE_REASONS = [
  "peer_closed",
  "read_failed",
  "write_failed",
  "protocol_error",
  "silent",
  "slow_reader",
  "login_timeout",
  "made_room",
  "too_fast",
  "ended_by_session",
  "shutdown",
] as const;
/** One of them. */
export type CloseReason = (typeof CLOSE_REASONS)[number];
