-- A verdict ends the message whose attempt it judged, also when a new holder of the sender has swept it meanwhile.
insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_code, error_message)
select f.id, f.sender, 'failed', coalesce(q.attempts, u.attempts), coalesce(q.campaign, u.campaign),
  coalesce(q.in_sequence, u.in_sequence), f.code, f.message
from unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[], $5::text[]) as f (id, sender, attempt, code, message)
left join lateral (
  select q.id, q.attempts, q.campaign, q.in_sequence from wa.queue q
  where q.id = f.id and q.sender = f.sender and q.attempt = f.attempt and q.state = 'sending'
  offset 0
) q on true
left join lateral (
  select u.id, u.attempts, u.campaign, u.in_sequence from wa.uncertain u
  where u.id = f.id and u.sender = f.sender and u.attempt = f.attempt
  offset 0
) u on true
where q.id is not null or u.id is not null
on conflict do nothing
