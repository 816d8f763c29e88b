-- A later epoch's word stands: an earlier owner that is late says nothing.
insert into wa.sender_runtime as r
  (worker, sender, epoch, rate_now, rate_limit, limit_source, in_flight, at_hand, breaker, breaker_until, slow_until, last_error,
   last_error_at)
select $1, * from unnest($2::text[], $3::bigint[], $4::float8[], $5::float8[], $6::text[], $7::int[], $8::int[], $9::text[],
  $10::timestamptz[], $11::timestamptz[], $12::text[], $13::timestamptz[])
on conflict (sender) do update set
  worker = excluded.worker, epoch = excluded.epoch, updated_at = now(), rate_now = excluded.rate_now,
  rate_limit = excluded.rate_limit, limit_source = excluded.limit_source, in_flight = excluded.in_flight,
  at_hand = excluded.at_hand, breaker = excluded.breaker, breaker_until = excluded.breaker_until,
  slow_until = excluded.slow_until, last_error = coalesce(excluded.last_error, r.last_error),
  last_error_at = coalesce(excluded.last_error_at, r.last_error_at)
where r.epoch <= excluded.epoch
