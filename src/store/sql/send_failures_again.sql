-- Writes these messages anew, if they have failed: rejected, so they have no wamid, or told to have failed after their acceptance, and
-- not delivered all the same. The dedup key names the old message, so there is one new message at most, whoever asks how often. Members of
-- sequences are written in one order, so that two who do this cannot meet in a deadlock.
with failed as materialized (
  select o.*, o.campaign_id is null or exists (
      select from wa.campaigns c
      where c.id = o.campaign_id and c.state in ('draft', 'running', 'paused') and (c.ends_at is null or c.ends_at > now())
    ) as may_leave
  from unnest($1::bigint[]) as m (id)
  join wa.outbox o on o.id = m.id
  join wa.results r on r.id = o.id and r.sender = o.sender
  where (r.state = 'failed' or r.failed_at is not null) and coalesce(r.delivered_at, r.read_at, r.played_at) is null
), written as (
  insert into wa.outbox (sender, recipient, recipient_kind, payload, variables, campaign_id, priority, due_at, expires_at, sequence,
    dedup_key, on_uncertain, reference)
  select f.sender, f.recipient, f.recipient_kind, f.payload, f.variables, f.campaign_id, f.priority, now(),
    now() + (f.expires_at - f.due_at), f.sequence, 'again:' || f.id, f.on_uncertain, f.reference
  from failed f
  where f.may_leave
  order by f.sender, f.recipient, f.sequence, f.id
  on conflict do nothing
  returning id
)
select (select count(*) from failed) as "failed!", (select count(*) from failed f where f.may_leave) as "may_leave!",
  (select count(*) from written) as "written!"
