-- Messages of begins that their sender had given up, those still in the queue. One that stands in `sending` past its deadline was
-- begun after all: no answer to it can come to anyone, so it becomes uncertain. Found by key, whatever else is queued.
with suspects as (
  select q.* from unnest($1::bigint[], $2::text[]) as s (id, sender)
  join wa.queue q on q.id = s.id and q.sender = s.sender
), lost as (
  insert into wa.uncertain
    (id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
  select id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, true,
    'it was begun when nobody waited for it any more', 'a status webhook that tells whether it was accepted'
  from suspects where state = 'sending' and deadline < clock_timestamp()
  on conflict do nothing
  returning id, sender, attempt, begun_at
), noted as (
  insert into wa.attempts (id, sender, attempt, begun_at, outcome, note)
  select id, sender, attempt, begun_at, 'uncertain', 'it was begun when nobody waited for it any more' from lost
  on conflict do nothing
)
select s.id as "id!", s.sender as "sender!", l.id is not null as "is_lost!"
from suspects s left join lost l on l.id = s.id and l.sender = s.sender
