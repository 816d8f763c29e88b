-- The answer was lost. The books take the message out of the queue. Where a new holder has swept it meanwhile, it is in doubt already;
-- but whether policy may send it again is known better now.
with told as materialized (
  select distinct on (t.id, t.sender, t.attempt) t.*
  from unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::bool[]) as t (id, sender, attempt, doubt, may_resend)
  order by t.id, t.sender, t.attempt, t.may_resend
), swept as (
  update wa.uncertain u set may_resend = false, doubt = t.doubt
  from told t
  where u.id = any ($1) and u.id = t.id and u.sender = t.sender and u.attempt = t.attempt and u.may_resend and not t.may_resend
)
insert into wa.uncertain
  (id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
select q.id, q.sender, q.priority, q.expires_at, q.campaign, q.in_sequence, q.attempt, q.attempts, q.resends, q.begun_at, q.deadline,
  d.may_resend, d.doubt, 'a status webhook that tells whether it was accepted'
from told d
cross join lateral (
  select * from wa.queue q where q.id = d.id and q.sender = d.sender and q.attempt = d.attempt and q.state = 'sending' offset 0
) q
-- Swept between our snapshot and now.
on conflict (id, sender) do update set may_resend = false, doubt = excluded.doubt
where uncertain.attempt = excluded.attempt and uncertain.may_resend and not excluded.may_resend
