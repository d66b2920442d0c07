/** Column lists of SELECTs that several files begin with; rows.ts reads them. */

/** A message `m`, its conversation `c` and its sender `u`, as {@linkcode WHOSE} joins them. */
export const MESSAGE = "m.mid, m.cid, m.sender, u.name, m.ts, c.lowid, c.highid, c.groupid, " +
  "m.msg, m.extra";
/** Joins a message's conversation and sender, in this order: each is one row. */
export const WHOSE = "STRAIGHT_JOIN conversation c ON c.id = m.conv " +
  "STRAIGHT_JOIN user u ON u.id = m.sender";
/** Members of groups. */
export const MEMBER = "SELECT u.id, u.name, g.grouprole, g.groupid FROM groupuser g " +
  "JOIN user u ON u.id = g.userid";
