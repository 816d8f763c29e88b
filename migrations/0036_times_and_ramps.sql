-- Times and ramps that a program can read.
--
-- Postgres knows an infinity, years beyond 9999 and numbers in quotes; the program knows none of them, and one row that it cannot read
-- would keep a worker from looking after all its senders.

-- Called for a row with a time that no program can read. Its arguments are the columns looked at; of one with a ? null means for ever, and
-- so does infinity. Before other triggers, by its name.
create or replace function wa.a_time_can_be_read() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  argument text;
  field text;
  given timestamptz;
begin
  foreach argument in array tg_argv loop
    field := rtrim(argument, '?');
    given := (to_jsonb(new) ->> field)::timestamptz;
    if given = 'infinity' and field <> argument then
      new := jsonb_populate_record(new, jsonb_build_object(field, null));
    elsif given not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z' then
      perform wa.refuse(field, format('%s is %s', field, given),
        'use a time from 1970 to the end of 9999' || case when field <> argument then ', or leave it out' else '' end, tg_table_name);
    end if;
  end loop;
  return new;
end
$$;

-- Steps of at least one message an hour, and at least one hour, which is also what a step that does not say lasts; 30 days together. Written
-- as the program reads them: whole numbers, below 2^32, and nothing beside.
create or replace function wa.campaign_ramp_is_sound(ramp jsonb) returns boolean
language sql immutable as $$
  select case when jsonb_typeof(ramp) = 'array' then coalesce((
    select bool_and(coalesce(
        jsonb_typeof(s.step) = 'object'
        and jsonb_typeof(s.step -> 'per_hour') = 'number' and s.step ->> 'per_hour' ~ '^[1-9][0-9]{0,9}$'
        and case when length(s.step ->> 'per_hour') <= 10 then (s.step ->> 'per_hour')::numeric <= 4294967295 end
        and jsonb_typeof(coalesce(s.step -> 'for_hours', '1')) = 'number' and coalesce(s.step ->> 'for_hours', '1') ~ '^[1-9][0-9]{0,2}$'
        and case when jsonb_typeof(s.step) = 'object' then s.step - '{per_hour,for_hours}'::text[] = '{}' end, false))
      and sum(case when s.step ->> 'for_hours' ~ '^[1-9][0-9]{0,2}$' then (s.step ->> 'for_hours')::integer else 1 end) <= 720
    from jsonb_array_elements(case when jsonb_typeof(ramp) = 'array' then ramp else '[]' end) s (step)), false)
  else false end
$$;

-- As before, except that what stays as it is is not looked at again: a campaign that was taken can be paused and cancelled, whatever is
-- known of ramps and time zones by then.
create or replace function wa.campaign_is_checked() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  if new.sender is null then
    select s.sender into new.sender from wa.senders s order by s.is_default desc limit 1;
    if new.sender is null or (select count(*) > 1 and not bool_or(s.is_default) from wa.senders s) then
      perform wa.refuse('sender', 'sender is missing and there is no default', 'name the sender', 'campaigns');
    end if;
  elsif not exists (select from wa.senders s where s.sender = new.sender) then
    perform wa.refuse('sender', format('sender %s does not exist', wa.shown(new.sender)), 'see which there are: wa-outbox sender list', 'campaigns');
  end if;
  if tg_op = 'INSERT' or new.payload::text is distinct from old.payload::text then
    -- What it says is known when its placeholders are filled, and looked at then.
    perform wa.checked_payload(new.payload, '', 'off');
    if new.payload ->> 'type' is distinct from 'template' then
      perform wa.refuse('payload', format('payload.type is %s', wa.shown(new.payload ->> 'type')), 'a campaign sends a template: set "type" to "template"', 'campaigns');
    elsif coalesce(new.payload -> 'template' ->> 'name', '') = '' then
      perform wa.refuse('payload', 'payload.template.name is missing', 'name the template', 'campaigns');
    end if;
  end if;
  if new.ramp is not null and (tg_op = 'INSERT' or new.ramp is distinct from old.ramp) and not wa.campaign_ramp_is_sound(new.ramp) then
    perform wa.refuse('ramp', format('ramp is %s', wa.shown(new.ramp::text)),
      'write steps such as [{"per_hour":100,"for_hours":1}], of 720 hours together at most', 'campaigns');
  end if;
  if (tg_op = 'INSERT' or new.time_zone is distinct from old.time_zone) and not wa.is_time_zone(new.time_zone) then
    perform wa.refuse('time_zone', format('time_zone is %s', wa.shown(new.time_zone)), 'use an IANA name such as Europe/Berlin, or UTC', 'campaigns');
  end if;
  return new;
end
$$;

-- Before its trigger: it may be a table of millions, and whoever writes to it waits while a trigger is made.
update wa.suppressions set
  expires_at = case when expires_at > '9999-12-31 00:00Z' then null else greatest(expires_at, '1970-01-01 00:00Z') end,
  created_at = least(greatest(created_at, '1970-01-01 00:00Z'), '9999-12-31 00:00Z')
where expires_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z'
  or created_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z';

create or replace trigger a_time_can_be_read before insert or update on wa.suppressions
for each row when (new.expires_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z'
  or new.created_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z')
execute function wa.a_time_can_be_read('expires_at?', 'created_at');

create or replace trigger a_time_can_be_read before insert or update on wa.senders
for each row when (new.held_until not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z')
execute function wa.a_time_can_be_read('held_until?');

-- What no person holds is tried again then, so it has an end.
create or replace trigger a_time_can_be_read before insert or update on wa.template_holds
for each row when (new.cause = 'operator' and new.held_until not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z')
execute function wa.a_time_can_be_read('held_until?');
create or replace trigger a_time_of_a_probe_can_be_read before insert or update on wa.template_holds
for each row when (new.cause <> 'operator' and new.held_until not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z')
execute function wa.a_time_can_be_read('held_until');

create or replace trigger a_time_can_be_read before insert or update on wa.campaigns
for each row when (new.starts_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z'
  or new.ends_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z'
  or new.preflight_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z')
execute function wa.a_time_can_be_read('starts_at', 'ends_at?', 'preflight_at');

-- What stands already keeps its meaning: what was over is over, and what had no end or was never to begin has none and does not.
update wa.senders
set held_until = case when held_until > '9999-12-31 00:00Z' then null else timestamptz '1970-01-01 00:00Z' end
where held_until not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z';

update wa.template_holds
set held_until = case
  when held_until < '1970-01-01 00:00Z' then timestamptz '1970-01-01 00:00Z'
  when cause <> 'operator' then '9999-12-31 00:00Z' end
where held_until not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z';

update wa.campaigns
set starts_at = case when starts_at >= '1970-01-01 00:00Z' then least(starts_at, '9999-12-31 00:00Z') end,
  ends_at = case when ends_at <= '9999-12-31 00:00Z' then greatest(ends_at, '1970-01-01 00:00Z') end,
  preflight_at = least(greatest(preflight_at, '1970-01-01 00:00Z'), '9999-12-31 00:00Z')
where starts_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z'
  or ends_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z'
  or preflight_at not between '1970-01-01 00:00Z' and '9999-12-31 23:59:59.999999Z';

-- The steps that are meant, as far as the 30 days go.
update wa.campaigns c
set ramp = (
  select jsonb_agg(jsonb_build_object('per_hour', s.per_hour, 'for_hours', least(s.for_hours, 720 - s.before)) order by s.place)
  from (
    select e.place, (e.step ->> 'per_hour')::bigint as per_hour, h.for_hours, sum(h.for_hours) over (order by e.place) - h.for_hours as before
    from jsonb_array_elements(c.ramp) with ordinality e (step, place)
    cross join lateral (select coalesce(e.step ->> 'for_hours', '1')::integer as for_hours) h
  ) s
  where s.before < 720)
where c.ramp is not null and not wa.campaign_ramp_is_sound(c.ramp);
