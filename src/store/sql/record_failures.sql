-- A verdict ends the message whose attempt it judged, also when a new holder of the sender has swept it meanwhile.
insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_code, error_message)
select f.id, f.sender, 'failed', coalesce(q.attempts, u.attempts), coalesce(q.campaign, u.campaign),
  coalesce(q.in_sequence, u.in_sequence), f.code, f.message
from unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[], $5::text[]) as f (id, sender, attempt, code, message)
left join wa.queue q on q.id = f.id and q.sender = f.sender and q.attempt = f.attempt and q.state = 'sending'
left join wa.uncertain u on u.id = f.id and u.sender = f.sender and u.attempt = f.attempt
where q.id is not null or u.id is not null
on conflict do nothing
