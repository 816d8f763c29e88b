-- Of these messages those that are like that, newest first, as wa.messages shows them. What each is held against stands in two tables and
-- is found by key; the view, which looks everywhere, is asked only about what is shown.
select m.id as "id!", m.sender as "sender!", m.recipient as "recipient!", m.state as "state!", m.status, m.wamid,
  m.attempts as "attempts!", m.waiting_for, m.error_code, m.error_message, m.priority as "priority!", m.due_at as "due_at!", m.expires_at,
  m.sequence, m.dedup_key, m.reference, m.created_at as "created_at!", m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.failed_at,
  m.duplicate, coalesce(m.status_conflict, false) as "status_conflict!"
from (
  select o.id, o.sender
  from unnest($1::bigint[]) as c (id)
  join wa.outbox o on o.id = c.id
  left join wa.results r on r.id = o.id and r.sender = o.sender
  where ($2::text is null or o.sender = $2) and ($3::text is null or o.recipient = $3) and ($4::text is null or o.reference = $4)
    and ($5::text is null or o.sequence = $5) and ($6::bigint is null or o.campaign_id = $6)
    and case
      when $7::text is null then true
      when $7 in ('accepted', 'failed', 'expired', 'cancelled') then r.state = $7
      else r.id is null
    end
    and ($8::text is null or $8 = case
      when r.played_at is not null then 'played'
      when r.read_at is not null then 'read'
      when r.delivered_at is not null then 'delivered'
      when r.failed_at is not null and r.state = 'accepted' then 'failed'
      when r.sent_at is not null then 'sent'
    end)
    and ($9::bigint is null or r.error_code = $9)
    and (not $10::bool or r.duplicate is not null)
  order by o.id desc
  limit $11
) l
cross join lateral (select * from wa.messages v where v.id = l.id and v.sender = l.sender offset 0) m
order by m.id desc
