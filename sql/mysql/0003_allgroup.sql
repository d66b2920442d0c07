-- 0003 allgroup: every group. groupkey is the name's look, as user.namekey.
-- version grows with every change of the members: whoever remembers them reads one row to know
-- that they are still right, and holds a lock on it so that they stay so until his commit.
CREATE TABLE allgroup (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  groupname VARCHAR(50) NOT NULL,
  groupkey VARBINARY(600) NOT NULL UNIQUE,
  groupdesc VARCHAR(200) NOT NULL,
  version INT UNSIGNED NOT NULL DEFAULT 1,
  members INT UNSIGNED NOT NULL DEFAULT 0 -- how many are in it, so that lists can say so unread
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin
