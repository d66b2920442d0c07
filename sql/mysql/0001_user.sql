-- 0001 user: accounts. A row is never deleted, so that messages keep their sender.
-- namekey is how the name looks (actors/adapters/name_key.ts): names differ by more than case.
-- Binary, as every text that is compared: no collation has a say in it.
CREATE TABLE user (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(50) NOT NULL,
  namekey VARBINARY(600) NOT NULL UNIQUE,
  password VARCHAR(255) NOT NULL -- Argon2id in PHC form
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin
