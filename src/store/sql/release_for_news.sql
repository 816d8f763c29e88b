-- WhatsApp says that an account is in order again: what it held its senders for until then is over, but not what a person holds.
-- Its campaigns stay paused until a person resumes them.
with restored as (
  update wa.sender_numbers n set restored_at = $3
  from wa.senders_meant($1, $2) m
  where n.sender = m.sender and m.is_certain and coalesce(n.restored_at < $3, true)
)
update wa.senders s
set held_reason = null, held_by = null, held_until = null, released_at = clock_timestamp(), released_by = $5, released_why = $4
from wa.senders_meant($1, $2) m
where s.sender = m.sender and m.is_certain and s.held_cause in ('account', 'policy') and s.held_by = $5 and s.held_at <= $3
returning s.sender
