insert into wa.status_events
  (id, sender, attempt, wamid, status, occurred_at, received_at, error_code, error_title, error_details, callback_data, inbox_id)
select * from unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::bigint[],
  $9::text[], $10::text[], $11::text[], $12::bigint[])
