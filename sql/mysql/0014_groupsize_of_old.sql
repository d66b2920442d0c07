-- 0014 allgroup.members of the groups that are there.
UPDATE allgroup SET members =
  (SELECT COUNT(*) FROM groupuser g WHERE g.groupid = allgroup.id)
