-- Once a connection of an activity thread: the role's own search_path stays, the engine's schema comes behind it.
-- Index, locks: none.
SELECT set_config('search_path', current_setting('search_path') || ', ' || $1, false);
