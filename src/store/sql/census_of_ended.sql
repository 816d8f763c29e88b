-- What became of the newest $1 messages that have ended, by state and status as in wa.messages.
select l.state as "state!", l.status, count(*) as "messages!",
  (select o.created_at from wa.outbox o where o.id = min(l.id)) as back_to
from (
  select r.id, r.state, case
      when r.played_at is not null then 'played'
      when r.read_at is not null then 'read'
      when r.delivered_at is not null then 'delivered'
      when r.failed_at is not null and r.state = 'accepted' then 'failed'
      when r.sent_at is not null then 'sent'
    end as status
  from wa.results r
  order by r.id desc
  limit $1
) l
group by l.state, l.status
order by l.state, l.status
