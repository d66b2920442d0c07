/**
 * Sizes and counts that are part of the wire contract: a client may rely on them.
 * Limits an operator may change are flags (server/settings/flags.ts), not constants here.
 */

/** Largest incoming frame in bytes, braces included. Source: docs/protocol.md, "Framing". */
export const MAX_FRAME_BYTES = 64 * 1024;
/** Longest text of one message, in UTF-16 units. Its UTF-8 form (≤ 3 bytes a unit) fits a frame. */
export const MAX_TEXT_UNITS = 16_384;
/** Longest client-chosen message id, in UTF-16 units. */
export const MAX_CID_UNITS = 64;
/** Longest user or group name, in UTF-16 units; the classic schema has VARCHAR(50). */
export const MAX_NAME_UNITS = 50;
/** Longest group description, in UTF-16 units; the classic schema has VARCHAR(200). */
export const MAX_DESC_UNITS = 200;
/** Longest password, in UTF-16 units: Argon2id hashes all of it, so it costs the server. */
export const MAX_PASSWORD_UNITS = 256;
/** Most receipts in one RECV_ACK. */
export const MAX_RECEIPTS = 1_000;
/** Most messages in one HISTORY_ACK. */
export const MAX_HISTORY = 200;
/** Length of a `mid` (a ULID: 48 bits of time, 80 of order and origin). */
export const MID_LENGTH = 26;
/** Pushes a v2 session may have without a receipt; more wait until receipts come. */
export const MAX_UNRECEIPTED = 1_024;
/** The same in UTF-16 units of their JSON texts; one more push is begun while below it. */
export const MAX_UNRECEIPTED_UNITS = 256 * 1024;
/** Most UTF-16 units of messages in one HISTORY_ACK; one message is always given. */
export const MAX_HISTORY_UNITS = 256 * 1024;
/** Most frames of one session that wait for its turn. The main thread stops reading well before. */
export const MAX_FRAMES = 4_096;
