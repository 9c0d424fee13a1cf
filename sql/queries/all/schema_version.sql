-- Every program, once a connection, before any other statement; pg::judge_schema() reads the answer.
-- Fails with 42P01 where the schema does not exist.
SELECT version, oldest_program
  FROM schema_version
 ORDER BY version DESC
 LIMIT 1;
