romancy start count_all --input @tyger.json --id all --wait
romancy start count_gently --input @tyger.json --id gently --wait

# Every line was counted once.
psql -c "SELECT instance_id, kind, name, count(*) FROM romancy.workflow_history \
         WHERE kind = 'activity_completed' GROUP BY 1, 2, 3 ORDER BY 1"
