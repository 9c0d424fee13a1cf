-- romancy drain-version. False: it drains already. Index: pk of draining_versions. Locks: its row.
SELECT drain_version($1::text);
