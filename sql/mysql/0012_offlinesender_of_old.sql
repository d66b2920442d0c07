-- 0012 offlinemessage.sender of the rows that are there.
UPDATE offlinemessage o JOIN message m ON m.mid = o.mid
  SET o.sender = m.sender WHERE m.groupid IS NULL
