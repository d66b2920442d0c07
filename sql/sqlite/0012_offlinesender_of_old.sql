-- 0012 offlinemessage.sender of the rows that are there.
UPDATE offlinemessage SET sender = COALESCE(
  (SELECT m.sender FROM message m WHERE m.mid = offlinemessage.mid AND m.groupid IS NULL), 0);
