/** Column lists of SELECTs that several files begin with; rows.ts reads them. */

/** A message `m` and its sender `u`. */
export const MESSAGE = "m.mid, m.cid, m.sender, u.name, m.ts, m.toid, m.groupid, m.msg, m.extra";
/** Members of groups. */
export const MEMBER = "SELECT u.id, u.name, g.grouprole, g.groupid FROM groupuser g " +
  "JOIN user u ON u.id = g.userid";
