-- Pauses campaigns of these senders that are in trouble: WhatsApp has its template, or its sender for what it sends, stopped since it
-- was started or resumed last; or too many of those answered lately have failed. What a person has resumed meanwhile goes on: only
-- what happened after that counts. (A window is a day at most, however it was written: one that cannot be reckoned with must not keep the
-- others from being paused.)
with running as materialized (
  select c.*, make_interval(secs => least(greatest(extract(epoch from c.pause_window), 0), 86400)::float8) as looked_back
  from wa.campaigns c where c.sender = any ($1) and c.state = 'running'
), reasons as (
  select c.id,
    coalesce(
      (select format('its template %s is held: %s', h.template, h.reason)
       from wa.template_holds h
       where h.sender = c.sender and h.released_at is null and h.cause <> 'operator' and h.held_at > c.state_changed_at
         and c.payload -> 'template' ->> 'name' = h.template
         and (h.language is null or replace(c.payload -> 'template' -> 'language' ->> 'code', '-', '_') = h.language)
       limit 1),
      (select format('its sender is held: %s', s.held_reason)
       from wa.senders s
       where s.sender = c.sender and s.held_cause in ('policy', 'account') and s.held_at > c.state_changed_at),
      (select format('%s of %s answered within %s have failed, %s %%%s', p.failed, p.answered,
          case when mod(extract(epoch from c.pause_window), 60) = 0 then format('%s min', extract(epoch from c.pause_window)::bigint / 60)
            else format('%s s', extract(epoch from c.pause_window)::float8) end,
          round(100.0 * p.failed / p.answered),
          (select format('; most with code %s', n.code) from wa.campaign_counts n
           where n.campaign = c.id and n.kind in ('failed', 'undelivered') and n.code >= 0 order by n.n desc limit 1))
       from (select sum(p.answered) as answered, sum(p.failed) as failed from wa.campaign_pace p
             where p.campaign = c.id and p.at >= greatest(now() - c.looked_back, c.state_changed_at)) p
       where p.answered >= c.pause_at_least and p.failed >= c.pause_failure_share * p.answered)
    ) as why
  from running c
), paused as (
  update wa.campaigns c
  set state = 'paused', state_reason = r.why, state_changed_at = clock_timestamp(), state_changed_by = $2
  from reasons r
  where c.id = r.id and c.state = 'running' and r.why is not null
  returning c.id, c.name, c.sender, c.state, c.state_reason
), noted as (
  insert into wa.campaign_events (campaign, what, author, reason) select id, 'paused', $2, state_reason from paused
)
select id as "campaign!", name as "name!", sender as "sender!", state as "state!", state_reason as "reason!" from paused
