-- A message that was never begun, or came back not sent, and whose time has passed. The books take it out of where it stood. A
-- member of a sequence that somebody is writing into at this moment is left for the next look: that may take long.
with overdue as (
  select q.id, q.sender, q.attempts, q.campaign, q.in_sequence from wa.queue q
  where q.expires_at <= now() and q.state = 'queued'
  order by q.expires_at limit 1000 for update skip locked
), overdue_members as (
  select w.id, w.sender
  from wa.waiting w
  cross join lateral (
    select from wa.sequences s
    where (s.sender, s.recipient, s.sequence) = (w.sender, w.recipient, w.sequence)
    for update skip locked
  ) ours
  where w.expires_at <= now()
  order by w.expires_at limit 1000
)
insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_message)
select id, sender, 'expired', attempts, campaign, in_sequence, 'its time passed before it could leave' from overdue
union all
select id, sender, 'expired', 0, 0, true, 'its time passed while it waited for its sequence' from overdue_members
on conflict do nothing
