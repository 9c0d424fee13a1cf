-- Every result of every run in the batch, in one transaction; the answer has one row a run.
-- Index: primary keys; inbox(instance_id, seen, id). Locks: the accepted instances, in id order.
SELECT run, accepted, released, inbox, clock_us
  FROM commit_runs(
         $1::bigint, $2::text[], $3::bigint[], $4::smallint[], $5::boolean[], $6::text[],
         $7::int[], $8::bigint[], $9::int[], $10::smallint[], $11::text[], $12::text[],
         $13::int[], $14::bigint[],
         $15::int[], $16::bigint[],
         $17::int[], $18::bigint[],
         $19::int[], $20::int[], $21::smallint[], $22::bigint[], $23::text[],
         $24::int[], $25::int[],
         $26::int[], $27::int[], $28::text[],
         $29::int[], $30::int[], $31::text[], $32::boolean[], $33::smallint[],
         $34::int[], $35::text[], $36::boolean[],
         $37::int[], $38::text[], $39::text[], $40::text[], $41::text[], $42::text[],
         $43::int[], $44::text[], $45::text[], $46::text[], $47::text[], $48::text[],
         $49::int[], $50::int[], $51::text[], $52::text[], $53::text[], $54::text[], $55::boolean[], $56::text[],
         $57::int[], $58::text[], $59::text[],
         $60::int[], $61::text[],
         $62::int[], $63::int[], $64::text[], $65::text[], $66::text[], $67::text[], $68::text[],
         $69::int[], $70::int[], $71::boolean[],
         $72::int, $73::text);
