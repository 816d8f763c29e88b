-- What is put off is given a time of its own, once: when its recipient's limit has room for it, or the quiet hours are over. Where the
-- setting behind it is loosened, those times are given back, in slices: a mark is put down by whoever changes it, and the workers walk
-- through what waits, lane by lane in the order of its times.

create table wa.loosened_settings (
  sender text not null,
  campaign bigint not null,
  look_at timestamptz,
  walked_campaign bigint not null default 0,
  walked_priority smallint not null default 0,
  walked_due_at timestamptz not null default '-infinity',
  walked_id bigint not null default 0,
  primary key (sender, campaign)
);
comment on table wa.loosened_settings is
  'settings that were loosened: what was put off for them is to be made due again; campaign 0: the limit to a recipient, else the quiet hours';
comment on column wa.loosened_settings.look_at is 'not before this, and the earliest first; null: no worker has seen it yet';
comment on column wa.loosened_settings.walked_id is 'the queue has been looked through up to this message, as campaign, priority and due time order it';

create function wa.setting_is_loosened(of_sender text, of_campaign bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into wa.loosened_settings as t (sender, campaign) values (of_sender, of_campaign)
  on conflict (sender, campaign) do update
  set look_at = excluded.look_at, walked_campaign = excluded.walked_campaign, walked_priority = excluded.walked_priority,
    walked_due_at = excluded.walked_due_at, walked_id = excluded.walked_id
$$;

create function wa.limit_to_recipients_is_loosened() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform wa.setting_is_loosened(new.sender, 0);
  return null;
end
$$;
create trigger limit_to_recipients_is_loosened after update on wa.senders
for each row when (new.pair_period_ms < old.pair_period_ms or new.pair_burst > old.pair_burst)
execute function wa.limit_to_recipients_is_loosened();

-- Quiet hours that are moved may let somebody go on earlier, too. Who still sleeps is put off once more.
create function wa.quiet_hours_are_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform wa.setting_is_loosened(new.sender, new.id);
  return null;
end
$$;
create trigger quiet_hours_are_changed after update on wa.campaigns
for each row when (old.quiet_hours is not null and (new.quiet_hours, new.time_zone) is distinct from (old.quiet_hours, old.time_zone))
execute function wa.quiet_hours_are_changed();

-- Makes due again what was put off for a limit, or for quiet hours, that have been loosened since: at the due times their applications
-- gave, so they take their places in line. One mark a call, by turns, and a bounded number of messages; what the application itself wants
-- later, what somebody else has locked, and what is set aside for a template, is passed by. A mark is left alone from when it is seen until
-- its sender's worker must have taken up the new setting, or it would put the messages off again by the old one. Says whether there was a
-- mark to be looked at.
create function wa.give_times_back(at_most integer, words_of_limit text, words_of_quiet text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
  mark wa.loosened_settings;
  lane record;
  seen record;
  looked bigint := 0;
begin
  with fresh as (
    select t.sender, t.campaign from wa.loosened_settings t where t.look_at is null limit at_most for update skip locked
  )
  update wa.loosened_settings t set look_at = clock_timestamp() + interval '2 seconds'
  from fresh f where t.sender = f.sender and t.campaign = f.campaign;
  select t.* into mark from wa.loosened_settings t
  where t.look_at <= clock_timestamp()
  order by t.look_at
  limit 1
  for update skip locked;
  if not found then
    return false;
  end if;
  for lane in
    select n.campaign, p.priority::smallint as priority
    from wa.lanes(mark.sender) as n (campaign) cross join generate_series(0, 9) as p (priority)
    where mark.campaign in (0, n.campaign) and (n.campaign, p.priority) >= (mark.walked_campaign, mark.walked_priority)
    order by n.campaign, p.priority
  loop
    if (lane.campaign, lane.priority) <> (mark.walked_campaign, mark.walked_priority) then
      mark.walked_due_at := '-infinity';
      mark.walked_id := 0;
    end if;
    with slice as materialized (
      select q.id, q.sender, q.due_at from wa.queue q
      where q.sender = mark.sender and q.campaign = lane.campaign and q.priority = lane.priority
        and q.due_at > now() and q.due_at < timestamptz '9999-01-01 00:00:00+00'
        and (q.due_at, q.id) > (mark.walked_due_at, mark.walked_id)
      order by q.due_at, q.id
      limit at_most - looked
    ), put_off as materialized (
      select q.id, q.sender from slice s join wa.queue q on q.id = s.id and q.sender = s.sender
      where q.state = 'queued' and q.due_at = s.due_at
        and q.waiting_for = case mark.campaign when 0 then words_of_limit else words_of_quiet end
      order by q.id
      for update of q skip locked
    ), back as (
      update wa.queue q set due_at = least(o.due_at, now()), waiting_for = null
      from put_off p join wa.outbox o on o.id = p.id and o.sender = p.sender
      where q.id = p.id and q.sender = p.sender
    )
    select s.due_at, s.id, (select count(*) from slice) as messages into seen
    from slice s order by s.due_at desc, s.id desc limit 1;
    looked := looked + coalesce(seen.messages, 0);
    if looked >= at_most then
      update wa.loosened_settings t
      set look_at = clock_timestamp(), walked_campaign = lane.campaign, walked_priority = lane.priority, walked_due_at = seen.due_at,
        walked_id = seen.id
      where t.sender = mark.sender and t.campaign = mark.campaign;
      return true;
    end if;
  end loop;
  delete from wa.loosened_settings t where t.sender = mark.sender and t.campaign = mark.campaign;
  return true;
end
$$;

revoke execute on function wa.setting_is_loosened(text, bigint), wa.limit_to_recipients_is_loosened(),
  wa.quiet_hours_are_changed(), wa.give_times_back(integer, text, text) from public;
grant execute on function wa.give_times_back(integer, text, text) to wa_worker;
grant select, update, delete on wa.loosened_settings to wa_worker;
