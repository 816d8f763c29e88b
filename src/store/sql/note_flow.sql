-- Statuses were seen for these messages: webhooks flow for their senders, up to messages accepted then.
insert into wa.webhook_flow as f (sender, last_status_at, accepted_watermark)
select r.sender, now(), max(r.ended_at)
from wa.results r join unnest($1::bigint[], $2::text[]) as m (id, sender) on r.id = m.id and r.sender = m.sender
where r.state = 'accepted'
group by r.sender
order by r.sender
on conflict (sender) do update set
  last_status_at = excluded.last_status_at, accepted_watermark = greatest(f.accepted_watermark, excluded.accepted_watermark)
