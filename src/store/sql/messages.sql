-- Newest first, a page at a time: the next page starts before the last id of this one.
select id as "id!", sender as "sender!", recipient as "recipient!", state as "state!", status, wamid, attempts as "attempts!",
  waiting_for, error_code, error_message, priority as "priority!", due_at as "due_at!", expires_at, sequence, dedup_key, reference,
  created_at as "created_at!", accepted_at, sent_at, delivered_at, read_at, failed_at, duplicate,
  coalesce(status_conflict, false) as "status_conflict!"
from wa.messages
where ($1::text is null or state = $1) and ($2::text is null or sender = $2) and ($3::text is null or recipient = $3)
  and ($4::text is null or reference = $4) and ($5::bigint is null or id < $5)
order by id desc
limit $6
