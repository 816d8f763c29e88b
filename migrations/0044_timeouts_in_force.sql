-- When the delivery of a head is overdue. A default that is shortened counts for messages that come to the front afterwards: of those
-- that are in front, the gates are looked at when they were to be (look_at), and that is when their sequences go on. (For the rest
-- as the migration sequence_verbs has it.)
create or replace view wa.sequence_standings as
select s.sender, s.recipient, s.sequence,
  s.head_id, s.head_since, m.state as head_state, m.status as head_status, m.waiting_for as head_waits_for,
  m.accepted_at as head_accepted_at, m.kind as head_kind,
  coalesce(m.delivery_timeout, c.delivery_timeout) as delivery_timeout,
  case when s.halted_cause is null and m.accepted_at is not null
    then greatest(m.accepted_at + m.delivery_timeout, s.look_at) end as timeout_at,
  c.on_failure, c.on_timeout,
  s.halted_cause, s.halted_member, s.halted_reason, s.halted_at,
  (select min(w.id) from wa.waiting w
   where (w.sender, w.recipient, w.sequence) = (s.sender, s.recipient, s.sequence)) as next_id,
  (select count(*) from (
     select from wa.waiting w where (w.sender, w.recipient, w.sequence) = (s.sender, s.recipient, s.sequence) limit 10001) counted)
    as waiting
from wa.sequences s
cross join lateral wa.sequence_settings(s) c
left join lateral (
  select x.state, x.status, x.waiting_for, x.accepted_at, wa.message_kind(o.payload) as kind,
    wa.delivery_timeout(s, s.head_id) as delivery_timeout
  from wa.messages x join wa.outbox o on o.id = x.id and o.sender = x.sender
  where x.id = s.head_id and x.sender = s.sender
) m on true;
