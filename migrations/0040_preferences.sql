-- What somebody has chosen in WhatsApp is noted without waiting for an application.
--
-- One that has written a suppression of the same recipient, and keeps its transaction open (or has prepared it), made whoever noted a choice
-- wait for it: all deliveries behind that one, and all answers behind that of a message to them. So a choice that cannot be noted at once
-- is put down in the same transaction, and noted by a later look. Of what WhatsApp tells the latest counts, in whatever order it is noted.

create table wa.waiting_preferences (
  preference bigint generated always as identity primary key,
  recipient text not null,
  sender text not null,
  stops boolean not null,
  told_by text not null,
  at timestamptz not null,
  look_at timestamptz not null default clock_timestamp()
);
comment on table wa.waiting_preferences is
  'what people have chosen in WhatsApp while somebody kept a suppression of theirs locked; becomes one of wa.suppressions when he is done';
create index waiting_preferences_by_look on wa.waiting_preferences (look_at);

-- Notes one, as before (the migration campaigns). Says whether a suppression came or went. One that was told again counts from then on: what
-- is told of before does not end it.
create function wa.note_preference_at_once(of_recipient text, of_sender text, stops boolean, told_by text, at timestamptz) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into wa.suppressions as s (recipient, sender, category, reason, source, created_at, expires_at, created_by)
  select of_recipient, n.sender, 'marketing', 'has stopped marketing messages in WhatsApp', told_by, at, case when not stops then at end,
    'wa-outbox'
  from wa.senders n where n.sender = of_sender
  on conflict (recipient, coalesce(sender, ''), coalesce(category, '')) do update
  set reason = excluded.reason, source = excluded.source, created_at = excluded.created_at, expires_at = excluded.expires_at,
    created_by = excluded.created_by
  where case
    when s.source not in ('answer', 'webhook') then stops and s.expires_at is not null
    when stops then s.expires_at < at
    else s.expires_at is null and s.created_at <= at
  end;
  if found then
    return true;
  end if;
  if stops then
    update wa.suppressions s set source = told_by, created_at = at
    where s.recipient = of_recipient and s.sender = of_sender and s.category = 'marketing'
      and s.source in ('answer', 'webhook') and s.expires_at is null and s.created_at < at;
  end if;
  return false;
end
$$;

-- Notes some together, in one subtransaction and in one order; where somebody is in the way of one, each alone, and none is waited for any
-- more. Says how many suppressions came or went.
create function wa.note_preferences(recipients text[], senders text[], stops boolean[], told_by text, at timestamptz[]) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
  one record;
  changed bigint := 0;
begin
  begin
    for one in
      select n.* from unnest(recipients, senders, stops, at) as n (recipient, sender, stops, at) order by n.recipient, n.sender, n.at
    loop
      changed := changed + wa.note_preference_at_once(one.recipient, one.sender, one.stops, told_by, one.at)::integer;
    end loop;
    return changed;
  exception
    when lock_not_available or deadlock_detected then
      changed := 0;
      perform set_config('lock_timeout', '1ms', true);
  end;
  for one in
    select n.* from unnest(recipients, senders, stops, at) as n (recipient, sender, stops, at) order by n.recipient, n.sender, n.at
  loop
    begin
      changed := changed + wa.note_preference_at_once(one.recipient, one.sender, one.stops, told_by, one.at)::integer;
    exception
      when lock_not_available or deadlock_detected then
        insert into wa.waiting_preferences (recipient, sender, stops, told_by, at)
        values (one.recipient, one.sender, one.stops, told_by, one.at);
    end;
  end loop;
  return changed;
end
$$;

-- The same for older programs, which note one at a time.
create or replace function wa.note_preference(of_recipient text, of_sender text, stops boolean, told_by text, at timestamptz) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return wa.note_preferences(array[of_recipient], array[of_sender], array[stops], told_by, array[at]) > 0;
end
$$;

-- Notes what was put down, a bounded number. What still cannot be noted is tried again a little later, so that it stands in front of no
-- other. Says how many are noted now.
create function wa.note_waiting_preferences(at_most integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
  one record;
  noted bigint := 0;
begin
  for one in
    select p.* from wa.waiting_preferences p where p.look_at <= now()
    order by p.look_at limit at_most
    for update skip locked
  loop
    begin
      perform wa.note_preference_at_once(one.recipient, one.sender, one.stops, one.told_by, one.at);
      delete from wa.waiting_preferences p where p.preference = one.preference;
      noted := noted + 1;
    exception
      when lock_not_available or deadlock_detected then
        update wa.waiting_preferences p set look_at = clock_timestamp() + interval '5 seconds' where p.preference = one.preference;
        perform set_config('lock_timeout', '1ms', true);
      when data_exception or integrity_constraint_violation then
        raise warning 'preference % of sender % cannot be noted (%)', one.preference, one.sender, sqlstate;
        update wa.waiting_preferences p set look_at = clock_timestamp() + interval '1 hour' where p.preference = one.preference;
    end;
  end loop;
  return noted;
end
$$;

revoke execute on function wa.note_preference_at_once(text, text, boolean, text, timestamptz),
  wa.note_preferences(text[], text[], boolean[], text, timestamptz[]), wa.note_waiting_preferences(integer)
from public;
grant execute on function wa.note_preference_at_once(text, text, boolean, text, timestamptz),
  wa.note_preferences(text[], text[], boolean[], text, timestamptz[]), wa.note_waiting_preferences(integer)
to wa_worker;
grant select, insert, update, delete on wa.waiting_preferences to wa_worker;
grant select on wa.waiting_preferences to wa_viewer;
