-- Statuses were seen for these messages: webhooks flow for their senders, up to messages accepted then; and where one named its
-- message by our token, its provider brings the token back, unless the message went another way than its sender's go now.
insert into wa.webhook_flow as f (sender, last_status_at, accepted_watermark, echoes)
select r.sender, now(), max(r.ended_at), coalesce(max(r.ended_at) filter (where m.by_token) > (
  select coalesce(s.way_changed_at, '-infinity') from wa.senders s where s.sender = r.sender), false)
from unnest($1::bigint[], $2::text[], $3::bool[]) as m (id, sender, by_token)
cross join lateral (
  select r.sender, r.ended_at from wa.results r where r.id = m.id and r.sender = m.sender and r.state = 'accepted' offset 0
) r
group by r.sender
order by r.sender
on conflict (sender) do update set
  last_status_at = excluded.last_status_at, echoes = f.echoes or excluded.echoes,
  accepted_watermark = greatest(f.accepted_watermark, excluded.accepted_watermark)
