-- Due messages in order, for every sender, lane and priority asked for, each from its own place in the index (queue_in_turn),
-- but for those that are known. (What is asked for stands in selects, so that the planner does not see how much it is and keeps one plan for
-- all: to plan took four times as long as to read.) In the lane of a campaign all are of one priority, the campaign's of the day (see
-- wa.outbox_rows_are_queued). What has expired is passed over, so that nothing waits behind many that expired together; but no more than
-- ten thousand of a lane, which the sweep ends meanwhile, for all senders wait for this look. The place in the middle keeps the planner from
-- reading a payload before that, or all of them. What is stored in more than $8 bytes is told without its content.
with fresh as materialized (
  select q.*, ask.priority
  from unnest((select $1::text[]), (select $2::bigint[]), (select $3::smallint[]), (select $4::timestamptz[]), (select $5::bigint[]),
    (select $6::bigint[])) as ask (sender, campaign, priority, after_due, after_id, n)
  cross join lateral (
    select l.id, l.sender, l.campaign, l.due_at, l.attempt
    from (
      select q.id, q.sender, q.campaign, q.due_at, q.attempt, q.expires_at
      from wa.queue q
      where q.sender = ask.sender and q.campaign = ask.campaign
        and q.priority = case when ask.campaign = 0 then ask.priority else 0::smallint end
        and (q.due_at, q.id) > (ask.after_due, ask.after_id) and q.due_at <= now()
        and q.state = 'queued'
      order by q.due_at, q.id
      limit ask.n + 10000
    ) l
    where l.expires_at is null or l.expires_at > now()
    order by l.due_at, l.id
    limit ask.n
  ) q
  where q.id not in (select known.id from unnest((select $7::bigint[])) as known (id))
)
select q.id as "id!", q.sender as "sender!", q.campaign as "campaign!", q.priority as "priority!", q.due_at as "due_at!",
  o.recipient as "recipient!", o.recipient_kind as "recipient_kind!", o.stored as "stored!", o.payload as "payload?",
  case when o.payload is not null then o.variables::text end as "variables?", o.expires_at, q.attempt as "attempt!",
  case when q.campaign <> 0 then (
    select wa.suppressed_because(o.recipient, q.sender, c.category) is not null from wa.campaigns c where c.id = q.campaign
  ) else false end as "is_suppressed!"
from fresh q
cross join lateral (
  select o.recipient, o.recipient_kind, o.variables, o.expires_at, coalesce(pg_column_size(o.payload), pg_column_size(o.variables), 0) as stored,
    case when coalesce(pg_column_size(o.payload), pg_column_size(o.variables), 0) <= $8::int then coalesce(o.payload::text, '') end as payload
  from wa.outbox o
  where o.id = q.id and o.sender = q.sender
  offset 0
) o
order by q.priority, q.due_at, q.id
