-- Campaigns of these senders of which nothing is left are done: those that say that no more recipients come or whose end has come,
-- and those into which nothing was written for a while. One that is done, and into which a transaction has written late, is opened
-- again, and is what its last verb had made of it: a draft waits for its start, and what was paused for its person. (What no verb has led is
-- taken for paused.)
with looked_at as (
  select c.id, c.state, c.complete, c.ends_at, c.started_at, n.*
  from wa.campaigns c
  cross join lateral (
    select coalesce(sum(k.n), 0) as total, coalesce(sum(k.n) filter (where k.kind in ('queued', 'sending', 'uncertain')), 0) as open,
      max(k.last_at) filter (where k.kind = 'queued') as last_written
    from wa.campaign_counts_now(c.id) k
  ) n
  where c.sender = any ($1) and (c.state in ('running', 'paused', 'draft')
    or c.state = 'done' and exists (select from wa.campaign_counts q where q.campaign = c.id and q.kind = 'queued' and q.n > 0))
), changed as (
  select l.id, case when l.state = 'done' then coalesce(v.was, 'paused') else 'done' end as becomes,
    case
      when l.state = 'done' then 'rows came when it was done'
        || case v.was when 'running' then '' when 'draft' then '; it is a draft as before' else '; it is paused as before' end
      when l.ends_at <= now() then 'its end has come, and nothing of it is left'
      when l.complete then 'nothing of it is left'
      else 'nothing of it is left, and nothing was added for a while' end as why
  from looked_at l
  left join lateral (
    select case e.what when 'created' then 'draft' when 'paused' then 'paused' else 'running' end as was
    from wa.campaign_events e
    where l.state = 'done' and e.campaign = l.id and e.what in ('created', 'started', 'paused', 'resumed')
    order by e.event desc
    limit 1
  ) v on true
  where l.state = 'done' and l.open > 0 and (l.ends_at is null or l.ends_at > now())
    or l.state <> 'done' and l.open = 0 and (l.ends_at <= now()
      or l.state = 'running' and l.total > 0
        and (l.complete or greatest(l.last_written, l.started_at) < now() - make_interval(secs => $2)))
), written as (
  update wa.campaigns c
  set state = x.becomes, state_reason = x.why, state_changed_at = clock_timestamp(), state_changed_by = $3
  from changed x
  where c.id = x.id and c.state = (select l.state from looked_at l where l.id = c.id)
  returning c.id, c.name, c.sender, c.state, c.state_reason
), noted as (
  insert into wa.campaign_events (campaign, what, author, reason)
  select id, case state when 'done' then 'done' when 'paused' then 'paused' else 'reopened' end, $3, state_reason from written
)
select id as "campaign!", name as "name!", sender as "sender!", state as "state!", state_reason as "reason!" from written
