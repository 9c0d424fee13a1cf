-- guards: what every function refuses before it touches anything.

-- Callers: the client API. Raises 22023 "<argument>: ..." for NULL, empty, longer than 255 bytes, control characters:
-- such names break logs, notification payloads (8000 bytes) and index rows.
CREATE OR REPLACE FUNCTION check_name(argument text, value text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
  IF value IS NULL THEN
    RAISE EXCEPTION '%: must not be NULL', argument USING ERRCODE = '22023';
  ELSIF value = '' THEN
    RAISE EXCEPTION '%: must not be empty', argument USING ERRCODE = '22023';
  ELSIF octet_length(value) > 255 THEN
    RAISE EXCEPTION '%: is % bytes long, at most 255 are allowed', argument, octet_length(value)
      USING ERRCODE = '22023';
  ELSIF value ~ '[\x01-\x1f\x7f]' THEN
    RAISE EXCEPTION '%: must not contain control characters', argument USING ERRCODE = '22023';
  END IF;
END
$$;

-- Callers: the client API. Raises 22023 for SQL NULL (JSON null is fine) and for what no worker would read.
CREATE OR REPLACE FUNCTION check_payload(argument text, value jsonb)
RETURNS void
LANGUAGE plpgsql STABLE AS
$$
DECLARE
  c_most CONSTANT int := 16 * 1024 * 1024;
  v_size int := pg_column_size(value);
BEGIN
  IF value IS NULL THEN
    RAISE EXCEPTION '%: must not be NULL (the JSON null is ''null'')', argument USING ERRCODE = '22023';
  END IF;
  IF v_size <= c_most THEN
    -- A value that comes from a table may be compressed; one that is built anew, in an array of 8 bytes, is not.
    v_size := greatest(v_size, pg_column_size(jsonb_build_array(value)) - 8);
  END IF;
  IF v_size > c_most THEN
    RAISE EXCEPTION '%: is % bytes long, at most 16 MiB are allowed', argument, v_size USING ERRCODE = '22023';
  ELSIF jsonb_path_exists(value, 'strict $.**{64}') THEN
    RAISE EXCEPTION '%: is nested deeper than 63 levels', argument USING ERRCODE = '22023';
  ELSIF jsonb_path_exists(value, 'strict $.** ? (@.type() == "number" && (@ > 1.7e308 || @ < -1.7e308))') THEN
    -- jsonb holds numbers of any size; a worker reads them into 64 bits and would have to park the instance.
    RAISE EXCEPTION '%: holds a number that does not fit a double', argument USING ERRCODE = '22023';
  END IF;
END
$$;

-- Callers: publish, publish_to_group.
CREATE OR REPLACE FUNCTION check_message(channel text, data jsonb, metadata jsonb)
RETURNS void
LANGUAGE plpgsql STABLE AS
$$
BEGIN
  PERFORM check_name('channel', $1);
  PERFORM check_payload('data', $2);
  PERFORM check_payload('metadata', $3);
  IF jsonb_typeof($3) <> 'object' THEN
    RAISE EXCEPTION 'metadata: must be a JSON object, not %', jsonb_typeof($3) USING ERRCODE = '22023';
  END IF;
END
$$;

-- snapshot_may_be_old: statements of this transaction may see less than what is committed when they start.
-- Callers: publish, publish_to_group.
CREATE OR REPLACE FUNCTION snapshot_may_be_old()
RETURNS boolean
LANGUAGE sql STABLE AS
$$
  SELECT current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')
$$;

-- Callers: whatever relies on "a later statement sees more": under an older snapshot it would lose work silently.
CREATE OR REPLACE FUNCTION need_read_committed(who text)
RETURNS void
LANGUAGE plpgsql STABLE AS
$$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION '%: needs a READ COMMITTED transaction, this one is %',
      who, upper(current_setting('transaction_isolation')) USING ERRCODE = '0A000';
  END IF;
END
$$;
