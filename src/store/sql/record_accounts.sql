-- A doubt may be settled before it is written down: a webhook was faster. Whoever learns an acceptance and whoever doubts it meet on
-- the row of the queue, so here either the acceptance is seen, or it comes later and settles what is written here.
insert into wa.attempts as a
  (id, sender, attempt, begun_at, outcome, http_status, error_code, error_subcode, error_title, error_details, fbtrace_id, note,
   settled_by, settled_at)
select t.*, known.learned_from, known.learned_at
from unnest($1::bigint[], $2::text[], $3::int[], $4::timestamptz[], $5::text[], $6::int[], $7::bigint[], $8::bigint[],
  $9::text[], $10::text[], $11::text[], $12::text[])
  as t (id, sender, attempt, begun_at, outcome, http_status, error_code, error_subcode, error_title, error_details, fbtrace_id, note)
left join lateral (
  select a.learned_from, a.learned_at from wa.known_wamids a
  where a.id = t.id and a.sender = t.sender and a.attempt = t.attempt and t.outcome = 'uncertain'
  order by a.learned_at limit 1
) known on true
-- Of a message that was pruned nothing is kept. (Looked up by key, whatever the planner believes.)
where (select o.id from wa.outbox o where o.id = t.id and o.sender = t.sender) is not null
order by t.id, t.sender, t.attempt
-- A row is there already when a new holder has swept the attempt: what is known now is better.
on conflict (id, sender, attempt) do update set
  ended_at = excluded.ended_at, outcome = excluded.outcome, http_status = excluded.http_status, error_code = excluded.error_code,
  error_subcode = excluded.error_subcode, error_title = excluded.error_title, error_details = excluded.error_details,
  fbtrace_id = excluded.fbtrace_id, note = excluded.note,
  settled_by = coalesce(a.settled_by, excluded.settled_by), settled_at = coalesce(a.settled_at, excluded.settled_at)
