-- 0011 secret: keys shared by all nodes of this store.
CREATE TABLE secret (
  name VARBINARY(255) NOT NULL PRIMARY KEY,
  value VARCHAR(4000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL
) ENGINE = InnoDB
