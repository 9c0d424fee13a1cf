# When would it tick? (This needs no database.) Clocks change on the 25th: three in the morning is another hour of UTC then.
romancy schedule next '0 3 * * *' --time-zone Europe/Berlin --from 2026-10-24T00:00:00Z --count 3

# A fast one. Created again, as every deployment may do, nothing changes.
romancy start listen --input 2 --id doctor
romancy schedule create pulse beat --every '1 second' --input '"doctor"'
romancy schedule create pulse beat --every '1 second' --input '"doctor"'
romancy result doctor --wait

# No further ticks until it is resumed, also when it is replaced; by hand it may be started all the same.
romancy schedule pause pulse
romancy start listen --input 1 --id nurse
romancy schedule create pulse beat --every '1 hour' --input '"nurse"'
romancy schedule trigger pulse | sed 's/@.*/@(now)/'
romancy result nurse --wait

psql -c "SELECT name, every, overlap, paused, started >= 2 AS has_ticked, missed FROM romancy.workflow_schedules"
romancy schedule remove pulse
