-- Every result of every run in the batch, in one transaction; the answer has one row a run.
-- Index: primary keys; inbox(instance_id, seen, id). Locks: the accepted instances, in id order.
SELECT run, accepted, released, inbox, clock_us
  FROM commit_runs(
         $1::bigint, $2::text[], $3::bigint[], $4::smallint[], $5::boolean[], $6::text[],
         $7::int[], $8::bigint[], $9::int[], $10::smallint[], $11::text[], $12::text[],
         $13::int[], $14::bigint[],
         $15::int[], $16::bigint[],
         $17::int[], $18::int[], $19::smallint[], $20::bigint[], $21::text[],
         $22::int[], $23::int[],
         $24::int[], $25::text[], $26::boolean[],
         $27::int[], $28::text[], $29::text[], $30::text[], $31::text[],
         $32::int[], $33::text[], $34::text[], $35::text[], $36::text[], $37::text[],
         $38::int);
