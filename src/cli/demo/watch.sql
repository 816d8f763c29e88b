-- Where the messages stand, with what became of their requests: what an application or a person may ask at any time.
select m.id, m.recipient,
  coalesce(o.payload ->> 'type', case when o.payload ->> 'status' = 'read' then 'mark as read' else 'text' end) as kind,
  m.state, m.status, m.attempts, m.waiting_for, m.error_code, m.error_message,
  m.wamid is not null as has_wamid,
  extract(epoch from coalesce(u.deadline + make_interval(secs => s.reconcile_window_s), m.due_at) - now())::float8 as due_in_s,
  (select a.learned_from from wa.known_wamids a where a.id = m.id order by a.learned_at limit 1) as learned_from,
  (select a.attempt from wa.known_wamids a where a.id = m.id order by a.learned_at limit 1) as accepted_attempt,
  array(select a.attempt from wa.attempts a where a.id = m.id order by a.attempt) as told_attempts,
  array(select a.outcome from wa.attempts a where a.id = m.id order by a.attempt) as outcomes,
  array(select e.status from wa.status_events e where e.id = m.id and e.sender = m.sender order by e.event) as statuses
from wa.messages m
join wa.outbox o on o.id = m.id and o.sender = m.sender
left join wa.uncertain u on u.id = m.id and u.sender = m.sender
left join wa.senders s on s.sender = m.sender
order by m.id desc
limit $1
