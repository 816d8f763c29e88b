-- Halted sequences, longest first, or all that have a message in front or are halted. The list is cut before it is filled in.
with listed as materialized (
  (select s.sender, s.recipient, s.sequence, s.halted_at from wa.sequences s
   where not $2::bool and s.halted_at is not null and ($1::text is null or s.sender = $1)
   order by s.halted_at
   limit $3)
  union all
  (select s.sender, s.recipient, s.sequence, null from wa.sequences s
   where $2::bool and (s.head_id is not null or s.halted_at is not null) and ($1::text is null or s.sender = $1)
   order by s.sender, s.recipient, s.sequence
   limit $3)
)
select g.sender as "sender!", g.recipient as "recipient!", g.sequence as "sequence!", g.head_id, g.head_since, g.head_state,
  g.head_status, g.head_waits_for, g.head_accepted_at, g.head_kind,
  extract(epoch from g.delivery_timeout)::float8 as delivery_timeout_s, g.timeout_at, g.on_failure as "on_failure!",
  g.on_timeout as "on_timeout!", g.halted_cause, g.halted_member, g.halted_reason, g.halted_at, g.next_id, g.waiting as "waiting!"
from listed l
join wa.sequence_standings g on (g.sender, g.recipient, g.sequence) = (l.sender, l.recipient, l.sequence)
order by l.halted_at, g.sender, g.recipient, g.sequence
