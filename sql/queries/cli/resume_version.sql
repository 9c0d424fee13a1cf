-- romancy resume-version. False: it did not drain. Index: pk of draining_versions. Locks: its row.
SELECT resume_version($1::text);
