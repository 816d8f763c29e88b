select sender as "sender!", recipient as "recipient!", sequence as "sequence!", head_id, head_since, head_state, head_status,
  head_waits_for, head_accepted_at, head_kind, extract(epoch from delivery_timeout)::float8 as delivery_timeout_s, timeout_at,
  on_failure as "on_failure!", on_timeout as "on_timeout!", halted_cause, halted_member, halted_reason, halted_at, next_id,
  waiting as "waiting!"
from wa.sequence_standings
where sender = $1 and recipient = wa.plain_recipient($2) and sequence = $3
