-- As before (the migration enqueue); but what cannot leave yet calls nobody.
--
-- To call makes commits wait for each other, and an owner sleeps on while nothing becomes due: so who wrote messages for tomorrow, or the rows of
-- a campaign that does not run, was slow for nothing. What is due later the owner finds by its look each second, and reads by time from then
-- on; a campaign calls when it starts.
create or replace function wa.outbox_rows_are_queued() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  stranger text;
  of_campaigns boolean;
  in_sequences boolean;
begin
  select min(f.sender) filter (where s.sender is null), bool_or(f.campaign_id is not null), bool_or(f.sequence is not null)
  into stranger, of_campaigns, in_sequences
  from fresh f left join wa.senders s on s.sender = f.sender;
  if stranger is not null then
    perform wa.refuse('sender', format('sender %s does not exist', wa.shown(stranger)),
      'add it: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME; known senders: '
      || coalesce((select string_agg(sender, ', ') from (select sender from wa.senders order by sender limit 5) s), 'none'));
  end if;

  -- In the lane of a campaign one priority counts, the campaign's of the day, so it is not written into each of its rows.
  insert into wa.queue (id, sender, priority, due_at, expires_at, campaign)
  select id, sender, case when campaign_id is null then priority else 0 end, due_at, expires_at, coalesce(campaign_id, 0)
  from fresh where sequence is null;

  if of_campaigns then
    insert into wa.campaign_deltas (campaign, kind, n)
    select campaign_id, 'queued', count(*) from fresh where campaign_id is not null group by campaign_id;
  end if;

  if in_sequences then
    insert into wa.waiting (sender, recipient, sequence, id, priority, due_at, expires_at)
    select sender, recipient, sequence, id, priority, due_at, expires_at from fresh where sequence is not null;
    perform wa.promote(s.sender, s.recipient, s.sequence)
    from (select distinct sender, recipient, sequence from fresh where sequence is not null order by 1, 2, 3) s;
  end if;

  if exists (select from wa.workers w where w.asleep) then
    perform pg_notify('wa_outbox_due', w.worker::text)
    from wa.workers w
    where w.asleep and w.worker in (
      select l.worker from wa.leases l
      where l.sender in (
        select f.sender from fresh f
        where f.due_at <= clock_timestamp() + interval '3 seconds'
          and (f.campaign_id is null or (select c.state = 'running' from wa.campaigns c where c.id = f.campaign_id))));
  end if;
  return null;
end
$$;
