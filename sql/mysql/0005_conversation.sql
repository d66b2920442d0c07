-- 0005 conversation: two people, or a group; what messages belong to.
-- Of two people lowid is the smaller id and groupid 0; of a group lowid and highid are 0.
CREATE TABLE conversation (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  lowid INT UNSIGNED NOT NULL,
  highid INT UNSIGNED NOT NULL,
  groupid INT UNSIGNED NOT NULL,
  UNIQUE KEY conversation_who (lowid, highid, groupid)
) ENGINE = InnoDB
