-- Once for each listed schedule whose ticks this process cannot compute. Index: pk of schedules. Locks: it (skip locked).
SELECT note_schedule($1::text, $2::bigint, $3::text);
