-- grants: who may do what. Last, because it names everything above.
--
-- <schema>_client: an application: the client API and the views. <schema>_worker: resumer, timer, relay: the rest, and
-- what a client may. Both are groups without login; the owner of the schema migrates. Where we may not create roles we
-- say what to run, and go on: the owner can do everything anyway.
DO
$$
DECLARE
  v_schema CONSTANT text := current_schema();
  v_client CONSTANT text := v_schema || '_client';
  v_worker CONSTANT text := v_schema || '_worker';
  v_role text;
BEGIN
  FOREACH v_role IN ARRAY ARRAY[v_client, v_worker] LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = v_role);
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
    EXCEPTION
      WHEN insufficient_privilege THEN
        RAISE NOTICE 'role % is missing and may not be created here', v_role
          USING HINT = format('Run as a superuser: CREATE ROLE %I NOLOGIN; then migrate again.', v_role);
      WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database's migration was faster
    END;
  END LOOP;

  EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', v_schema);
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_client) THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', v_schema, v_client);
    EXECUTE format(
      'GRANT EXECUTE ON FUNCTION start_workflow, remove_workflow, publish, publish_to_group, declare_channel, cancel_workflow, '
      'retry_compensations, give_up_compensations, add_outbox_event, workflow_result, await_workflow, "binary"(bytea), "binary"(jsonb), '
      'claim_activity_tasks, heartbeat_activity_task, complete_activity_task, fail_activity_task, release_activity_task, '
      'set_queue, pause_queue, resume_queue, remove_queue, history_kind, create_schedule, pause_schedule, resume_schedule, remove_schedule, trigger_schedule TO %I',
      v_client);
    EXECUTE format(
      'GRANT SELECT ON workflow_instances, workflow_history, workflow_history_archive, workflow_groups, workflow_children, activity_tasks, channels, '
      'timers, outbox_events, workers, worker_versions, workflow_schedules, workflow_queues, workflow_statistics, activity_statistics, schema_version TO %I',
      v_client);
  END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_worker) THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', v_schema, v_worker);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %I', v_schema, v_worker);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I', v_schema, v_worker);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO %I', v_schema, v_worker);
    EXECUTE format('GRANT INSERT ON routes, history TO %I', v_worker);
    EXECUTE format(
      'GRANT INSERT, UPDATE, DELETE ON sessions, stuck, claims, inbox, pokes, deadlines, subscriptions, '
      'competing_channels, channel_queue, channel_waits, deferred_messages, group_members, outbox, children, progress, result_waits, tasks, task_stops, draining_versions, slots TO %I',
      v_worker);
    EXECUTE format('GRANT UPDATE ON instances, schedules, queues TO %I', v_worker);
  END IF;
END
$$;
