-- binary: bytes as a JSON value and back: {"$binary": "<base64>"}, as romancy::Bytes of the SDK. The relay delivers an
-- outbox event whose data is exactly that as the bytes themselves.
-- Callers: applications. Commit: none. Index, locks: none.
CREATE OR REPLACE FUNCTION "binary"(value bytea)
RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT AS
$$
  SELECT jsonb_build_object('$binary', translate(encode(value, 'base64'), E'\n', ''))
$$;

-- Refuses (22023) what is not such a value. SQL NULL stays NULL.
CREATE OR REPLACE FUNCTION "binary"(value jsonb)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT AS
$$
BEGIN
  IF jsonb_typeof(value) <> 'object' OR jsonb_typeof(value -> '$binary') IS DISTINCT FROM 'string'
     OR value - '$binary' <> '{}' THEN
    RAISE EXCEPTION 'value: must be {"$binary": "<base64>"}, not %', left(value::text, 40) USING ERRCODE = '22023';
  END IF;
  RETURN decode(value ->> '$binary', 'base64');
EXCEPTION
  WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'value: %', regexp_replace(SQLERRM, '^value: ', '') USING ERRCODE = '22023';
END
$$;
