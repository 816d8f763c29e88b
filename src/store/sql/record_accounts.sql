insert into wa.attempts
  (id, sender, attempt, begun_at, outcome, http_status, error_code, error_subcode, error_title, error_details, fbtrace_id, note)
select * from unnest($1::bigint[], $2::text[], $3::int[], $4::timestamptz[], $5::text[], $6::int[], $7::bigint[], $8::bigint[],
  $9::text[], $10::text[], $11::text[], $12::text[])
-- A row is there already when a new holder has swept the attempt: what is known now is better.
on conflict (id, sender, attempt) do update set
  ended_at = excluded.ended_at, outcome = excluded.outcome, http_status = excluded.http_status, error_code = excluded.error_code,
  error_subcode = excluded.error_subcode, error_title = excluded.error_title, error_details = excluded.error_details,
  fbtrace_id = excluded.fbtrace_id, note = excluded.note
