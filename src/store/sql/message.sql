select id as "id!", sender as "sender!", recipient as "recipient!", state as "state!", status, wamid, attempts as "attempts!",
  waiting_for, error_code, error_message, priority as "priority!", due_at as "due_at!", expires_at, sequence, dedup_key, reference,
  created_at as "created_at!", accepted_at, sent_at, delivered_at, read_at, failed_at, duplicate,
  coalesce(status_conflict, false) as "status_conflict!"
from wa.messages
where id = $1
