-- Holds the senders of an account that can send nothing any more, where it is certain that they are meant, from the moment that it
-- happened. Not where a person has released them since, or where WhatsApp has: by saying so, or by taking their messages. (What it
-- took within a minute of the news may have been under way.)
update wa.senders s
set held_reason = $4, held_by = $5, held_until = $6, held_at = $3, held_cause = $7, held_code = null, held_fingerprint = null,
  probe_at = null, probes = 0, probing_until = null
from wa.senders_meant($1, $2) m
where s.sender = m.sender and m.is_certain and coalesce(m.restored_at < $3, true)
  and (s.held_reason is null or s.held_until <= clock_timestamp()) and coalesce($6 > clock_timestamp(), true)
  and coalesce(s.released_at < $3, true)
  and not exists (
    select from wa.webhook_flow f where f.sender = s.sender and f.accepted_watermark > $3 + interval '1 minute')
returning s.sender
