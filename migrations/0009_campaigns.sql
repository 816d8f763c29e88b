-- Campaigns: one template to many.
--
-- A recipient is a row of wa.outbox with campaign_id and variables; what it says is written once, here. Its rows wait in a lane
-- of their own (wa.queue.campaign), which the owner of the sender reads only while the campaign runs. So to pause, resume or
-- cancel a million rows is to write one row of wa.campaigns; wa.messages tells it of each of them at once.
--
-- Nobody counts them by looking at them. The books write down what has moved (wa.campaign_deltas), one row for each statement and
-- kind, and the owner adds that up now and then (wa.fold_campaign_deltas). Two sums in one statement are always right: what is
-- added up, and what is not yet.

create table wa.campaigns (
  id bigint generated always as identity primary key,
  name text not null
    constraint a_campaign_has_a_name_of_1_to_100_characters check (length(name) between 1 and 100)
    -- So that a name is never taken for an id.
    constraint the_name_of_a_campaign_is_no_number check (name !~ '^[0-9]+$'),
  sender text not null references wa.senders,
  payload json not null,
  category text
    constraint category_is_marketing_utility_or_authentication check (category in ('marketing', 'utility', 'authentication')),
  state text not null default 'draft'
    constraint a_campaign_is_draft_running_paused_done_or_cancelled check (state in ('draft', 'running', 'paused', 'done', 'cancelled')),
  state_reason text,
  state_changed_at timestamptz not null default clock_timestamp(),
  state_changed_by text not null default session_user,
  priority smallint not null default 7
    constraint priority_is_0_to_9 check (priority between 0 and 9),
  rate_share double precision not null default 1
    constraint rate_share_is_above_0_and_at_most_1 check (rate_share > 0 and rate_share <= 1),
  max_per_second double precision
    constraint max_per_second_is_above_0 check (max_per_second > 0 and max_per_second <= 10000),
  ramp jsonb,
  starts_at timestamptz,
  ends_at timestamptz,
  quiet_hours text
    constraint quiet_hours_are_written_like_21_00_08_00 check
      (quiet_hours ~ '^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$' and left(quiet_hours, 5) <> right(quiet_hours, 5)),
  time_zone text not null default 'UTC',
  expires_after interval
    constraint expires_after_is_above_0 check (expires_after > '0'),
  pause_failure_share double precision default 0.3
    constraint pause_failure_share_is_above_0_and_at_most_1 check (pause_failure_share > 0 and pause_failure_share <= 1),
  pause_window interval not null default '5 minutes'
    constraint pause_window_is_10_seconds_to_a_day check (pause_window between '10 seconds' and '1 day'),
  pause_at_least integer not null default 50
    constraint pause_at_least_is_above_0 check (pause_at_least > 0),
  complete boolean not null default false,
  preflight jsonb,
  preflight_at timestamptz,
  started_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null default session_user,
  constraint a_campaign_ends_after_it_starts check (ends_at > starts_at)
);
comment on table wa.campaigns is 'one template to many; its recipients: INSERT INTO wa.outbox (campaign_id, recipient, variables) SELECT …';
comment on column wa.campaigns.payload is 'a template message; {{name}} in a string is filled with that variable of each recipient';
comment on column wa.campaigns.category is 'of the template; where it is not said, suppressions of every category count';
comment on column wa.campaigns.rate_share is 'of the sender''s rate, at most so much; and its weight among campaigns of one priority';
comment on column wa.campaigns.max_per_second is 'messages a second at most; null = as rate_share says';
comment on column wa.campaigns.ramp is 'steps from its first start on, e.g. [{"per_hour":100,"for_hours":1}]; after the last there is no such limit';
comment on column wa.campaigns.ends_at is 'what has not left by then expires';
comment on column wa.campaigns.quiet_hours is 'HH:MM-HH:MM on the recipient''s clock: nothing leaves then; may go over midnight';
comment on column wa.campaigns.time_zone is 'IANA name; for recipients whose own time zone is not known';
comment on column wa.campaigns.expires_after is 'rows that say no expires_at get due_at and this';
comment on column wa.campaigns.pause_failure_share is 'paused by itself when so many of those answered within pause_window have failed; null = never';
comment on column wa.campaigns.pause_at_least is 'answered within the window, before the share of failures counts';
comment on column wa.campaigns.complete is 'no more recipients are to come: it is done when the last has ended';
create unique index a_campaign_name_is_used_once on wa.campaigns (name);
create index campaigns_by_sender on wa.campaigns (sender, state);

-- Whether its rows may leave as far as it is concerned.
create function wa.campaign_is_open(state text, starts_at timestamptz, ends_at timestamptz) returns boolean
language sql stable parallel safe as $$
  select state = 'running' and (starts_at is null or starts_at <= now()) and (ends_at is null or ends_at > now())
$$;

-- The lanes of a sender in which rows may wait to be sent, and those of them that are read: the ordinary one, and campaigns.
create function wa.lanes(of_sender text) returns setof bigint
language sql stable parallel safe as $$
  select 0::bigint union all select c.id from wa.campaigns c where c.sender = of_sender and c.state in ('draft', 'running', 'paused')
$$;
create function wa.open_lanes(of_sender text) returns setof bigint
language sql stable parallel safe as $$
  select 0::bigint
  union all
  select c.id from wa.campaigns c
  where c.sender = of_sender and c.state = 'running' and wa.campaign_is_open(c.state, c.starts_at, c.ends_at)
$$;

-- What was done about a campaign, by whom and why.
create table wa.campaign_events (
  event bigint generated always as identity primary key,
  campaign bigint not null,
  happened_at timestamptz not null default clock_timestamp(),
  what text not null
    constraint what_happened_to_a_campaign_is_known check
      (what in ('created', 'set', 'started', 'paused', 'resumed', 'cancelled', 'done', 'reopened', 'preflight')),
  author text not null,
  reason text
);
create index campaign_events_by_campaign on wa.campaign_events (campaign, event);

-- ── counts ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- How many rows of a campaign are of a kind: queued, sending, uncertain; accepted (no status yet), sent, delivered, read,
-- undelivered (accepted, and then a status said failed); failed, expired, cancelled, suppressed. Each row is of one kind.
create table wa.campaign_counts (
  campaign bigint not null,
  kind text not null,
  code bigint not null default -1,
  n bigint not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  primary key (campaign, kind, code)
) with (fillfactor = 50);
comment on table wa.campaign_counts is 'added up from wa.campaign_deltas; what is not added up yet is there';
comment on column wa.campaign_counts.last_at is 'when the last one became so';

-- How many were answered, and of those failed, in each step of at most 5 seconds of the last day.
create table wa.campaign_pace (
  campaign bigint not null,
  at timestamptz not null,
  answered bigint not null,
  failed bigint not null,
  primary key (campaign, at)
) with (fillfactor = 50);

-- Everything written by a transaction before this one has been added up and deleted. While a transaction is held open that keeps
-- vacuum back, what was deleted stays in the way of who reads from the front: nobody has to.
create table wa.campaign_fold (
  only_row boolean primary key default true
    constraint there_is_one_row check (only_row),
  front xid8 not null default '0'
) with (fillfactor = 50);
insert into wa.campaign_fold default values;

-- Where to read deltas from. After the database was restored into another cluster, whose transactions are counted anew, from the
-- very front.
create function wa.campaign_deltas_front() returns xid8
language sql stable security definer set search_path = pg_catalog as $$
  select case when f.front <= pg_snapshot_xmin(pg_current_snapshot()) then f.front else '0' end from wa.campaign_fold f
$$;

-- Adds up, at most so many rows; says how many. One at a time: who finds another at it leaves it to that one.
create function wa.fold_campaign_deltas(at_most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  from_xact xid8;
  no_more_before xid8;
  folded bigint;
begin
  perform from wa.campaign_fold for update skip locked;
  if not found then
    return 0;
  end if;
  from_xact := wa.campaign_deltas_front();
  -- Taken before we look, so whatever is older is seen by the look.
  no_more_before := pg_snapshot_xmin(pg_current_snapshot());
  with found as materialized (
    select d.ctid as place, d.xact from wa.campaign_deltas d where d.xact >= from_xact order by d.xact limit at_most
  ), gone as (
    delete from wa.campaign_deltas d using found f where d.ctid = f.place returning d.*
  ), counted as (
    insert into wa.campaign_counts as c (campaign, kind, code, n, first_at, last_at)
    -- Dated by those that became so, whether as many have gone on meanwhile or not.
    select campaign, kind, code, sum(n), coalesce(min(at) filter (where n > 0), min(at)), coalesce(max(at) filter (where n > 0), 'epoch')
    from gone group by campaign, kind, code
    on conflict (campaign, kind, code) do update
    set n = c.n + excluded.n, first_at = least(c.first_at, excluded.first_at),
      last_at = greatest(c.last_at, excluded.last_at)
  ), paced as (
    insert into wa.campaign_pace as p (campaign, at, answered, failed)
    -- A change of state begins a step of its own, so that what was before it can be told from what came after.
    select g.campaign, greatest(date_bin('5 seconds', g.at, '2000-01-01 00:00Z'), case when g.at >= c.state_changed_at then c.state_changed_at end),
      sum(n), coalesce(sum(n) filter (where kind in ('failed', 'undelivered')), 0)
    from gone g join wa.campaigns c on c.id = g.campaign
    where kind in ('accepted', 'sent', 'delivered', 'read', 'undelivered', 'failed')
    group by 1, 2
    having sum(n) <> 0 or sum(n) filter (where kind in ('failed', 'undelivered')) <> 0
    on conflict (campaign, at) do update set answered = p.answered + excluded.answered, failed = p.failed + excluded.failed
  ), forgotten as (
    delete from wa.campaign_pace p
    where p.campaign in (select campaign from gone) and p.at < now() - interval '1 day'
  )
  select count(*),
    case when count(*) < at_most then no_more_before
      else least(no_more_before, (select f.xact from found f order by f.xact desc limit 1)) end
  into folded, no_more_before
  from found;
  update wa.campaign_fold set front = no_more_before where front is distinct from no_more_before;
  return folded;
end
$$;

-- The counts as they are at this moment, whether added up or not.
create function wa.campaign_counts_now(of_campaign bigint)
returns table (kind text, code bigint, n bigint, first_at timestamptz, last_at timestamptz)
language sql stable security definer set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off as $$
  select b.kind, b.code, sum(b.n)::bigint, min(b.first_at), max(b.last_at)
  from (
    select c.kind, c.code, c.n, c.first_at, c.last_at from wa.campaign_counts c where c.campaign = of_campaign
    union all
    select d.kind, d.code, d.n, d.at, case when d.n > 0 then d.at end
    from wa.campaign_deltas d where d.xact >= (select wa.campaign_deltas_front()) and d.campaign = of_campaign
  ) b
  group by b.kind, b.code
  having sum(b.n) <> 0
$$;

-- ── what is written about a campaign ─────────────────────────────────────────────────────────────────────────────

-- Steps of at least one message an hour, and at least one hour, which is also what a step that does not say lasts.
create function wa.campaign_ramp_is_sound(ramp jsonb) returns boolean
language sql immutable as $$
  select jsonb_typeof(ramp) = 'array' and jsonb_array_length(ramp) between 1 and 720 and not exists (
    select from jsonb_array_elements(case when jsonb_typeof(ramp) = 'array' then ramp else '[]' end) s (step)
    where not coalesce(s.step ->> 'per_hour' ~ '^[1-9][0-9]{0,8}$' and coalesce(s.step ->> 'for_hours', '1') ~ '^[1-9][0-9]{0,2}$', false))
$$;

create function wa.is_time_zone(name text) returns boolean
language plpgsql stable set search_path = pg_catalog as $$
begin
  if name is null or name <> 'UTC' and name !~ '^[A-Za-z]+(/[A-Za-z0-9_+-]+)+$' then
    return false;   -- what Postgres takes beside that are abbreviations, which have no summer, and formulas
  end if;
  perform now() at time zone name;
  return true;
exception
  when invalid_parameter_value then return false;
end
$$;

create function wa.campaign_is_checked() returns trigger
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
  if new.ramp is not null and not wa.campaign_ramp_is_sound(new.ramp) then
    perform wa.refuse('ramp', format('ramp is %s', wa.shown(new.ramp::text)), 'write steps such as [{"per_hour":100,"for_hours":1}]', 'campaigns');
  end if;
  if not wa.is_time_zone(new.time_zone) then
    perform wa.refuse('time_zone', format('time_zone is %s', wa.shown(new.time_zone)), 'use an IANA name such as Europe/Berlin, or UTC', 'campaigns');
  end if;
  return new;
end
$$;
create trigger campaign_is_checked before insert or update on wa.campaigns
for each row execute function wa.campaign_is_checked();

create function wa.campaign_creation_is_noted() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into wa.campaign_events (campaign, what, author) values (new.id, 'created', new.created_by);
  return null;
end
$$;
create trigger campaign_creation_is_noted after insert on wa.campaigns
for each row execute function wa.campaign_creation_is_noted();

-- Calls the owner of a campaign's sender, whether it sleeps or not: what was changed is to act within a second.
create function wa.call_campaign_owner(of_sender text) returns void
language sql security definer set search_path = pg_catalog as $$
  select pg_notify('wa_campaign', l.worker::text) from wa.leases l where l.sender = of_sender and l.worker is not null
$$;

-- The verbs. Says whether anything was changed; what cannot be done is an error that says what is the case.
create function wa.lead_campaign(campaign bigint, verb text, author text, reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
declare
  one wa.campaigns;
  becomes text;
  problem text;
  fix text;
begin
  select c.* into one from wa.campaigns c where c.id = lead_campaign.campaign for update;
  if not found then
    raise exception using errcode = 'no_data_found', message = format('there is no campaign %s', campaign),
      hint = 'see which there are: wa-outbox campaign list';
  end if;
  becomes := case verb when 'start' then 'running' when 'resume' then 'running' when 'pause' then 'paused' when 'cancel' then 'cancelled' end;
  if becomes is null then
    perform wa.refuse('verb', format('verb is %s', wa.shown(verb)), 'use start, pause, resume or cancel', 'campaigns');
  end if;
  if one.state = becomes then
    return false;
  end if;
  problem := case
    when verb = 'start' and one.state in ('draft', 'done') or verb = 'pause' and one.state = 'running'
      or verb = 'resume' and one.state = 'paused' or verb = 'cancel' and one.state in ('draft', 'running', 'paused') then null
    else format('campaign %s is %s', one.name, one.state) end;
  if problem is not null then
    fix := case
      when one.state = 'cancelled' then 'what is cancelled stays so; make a new campaign'
      when one.state = 'draft' then 'start it: wa-outbox campaign start ' || one.name
      when one.state = 'paused' then 'resume it: wa-outbox campaign resume ' || one.name
      when one.state = 'done' then 'nothing of it is left to be sent; to add recipients, start it again: wa-outbox campaign start ' || one.name
      else 'see: wa-outbox campaign show ' || one.name end;
    raise exception using errcode = 'object_not_in_prerequisite_state', message = problem, hint = fix;
  end if;
  update wa.campaigns c
  set state = becomes, state_reason = reason, state_changed_at = clock_timestamp(), state_changed_by = author,
    started_at = coalesce(c.started_at, case when becomes = 'running' then clock_timestamp() end),
    complete = c.complete and one.state <> 'done'
  where c.id = one.id;
  insert into wa.campaign_events (campaign, what, author, reason)
  values (one.id, case verb when 'start' then 'started' when 'pause' then 'paused' when 'resume' then 'resumed' else 'cancelled' end, author, reason);
  perform wa.call_campaign_owner(one.sender);
  return true;
end
$$;

create function wa.start_campaign(campaign bigint, author text default session_user, reason text default null) returns boolean
language sql as $$ select wa.lead_campaign(campaign, 'start', author, reason) $$;
create function wa.pause_campaign(campaign bigint, author text default session_user, reason text default 'paused by SQL') returns boolean
language sql as $$ select wa.lead_campaign(campaign, 'pause', author, reason) $$;
create function wa.resume_campaign(campaign bigint, author text default session_user, reason text default null) returns boolean
language sql as $$ select wa.lead_campaign(campaign, 'resume', author, reason) $$;
create function wa.cancel_campaign(campaign bigint, author text default session_user, reason text default 'cancelled by SQL') returns boolean
language sql as $$ select wa.lead_campaign(campaign, 'cancel', author, reason) $$;

-- Settings by their names, without the content; as text, for that one is kept as it was written.
create function wa.plain_settings(settings json) returns jsonb
language sql immutable set search_path = pg_catalog as $$
  select coalesce(jsonb_object_agg(e.key, e.value::jsonb), '{}') from json_each(settings) e where e.key <> 'payload'
$$;

-- Writes the settings that are named, and no others; null takes a setting away. The content only while nothing has left.
create function wa.put_campaign_settings(one wa.campaigns, settings json) returns void
language plpgsql set search_path = pg_catalog as $$
declare
  unknown text;
begin
  select k into unknown from json_object_keys(settings) k
  where k <> all (array['name', 'payload', 'category', 'priority', 'rate_share', 'max_per_second', 'ramp', 'starts_at', 'ends_at',
    'quiet_hours', 'time_zone', 'expires_after', 'pause_failure_share', 'pause_window', 'pause_at_least', 'complete']);
  if unknown is not null then
    perform wa.refuse(unknown, format('%s is no setting of a campaign', wa.shown(unknown)), 'see: wa-outbox campaign set --help', 'campaigns');
  end if;
  if settings -> 'payload' is not null then
    if one.started_at is not null then
      perform wa.refuse('payload', format('campaign %s was started, so its payload stays as it is', one.name), 'make a new campaign', 'campaigns');
    end if;
    one.payload := settings -> 'payload';
  end if;
  one := jsonb_populate_record(one, wa.plain_settings(settings));
  update wa.campaigns c
  set (name, payload, category, priority, rate_share, max_per_second, ramp, starts_at, ends_at, quiet_hours, time_zone, expires_after,
       pause_failure_share, pause_window, pause_at_least, complete) =
    row(one.name, one.payload, one.category, one.priority, one.rate_share, one.max_per_second, nullif(one.ramp, 'null'), one.starts_at,
       one.ends_at, one.quiet_hours, one.time_zone, one.expires_after, one.pause_failure_share, one.pause_window, one.pause_at_least,
       one.complete)
  where c.id = one.id;
end
$$;

-- Makes a campaign, as a draft; settings by their names, e.g. '{"max_per_second": 5, "quiet_hours": "21:00-08:00"}'.
create function wa.create_campaign(
  name text, payload json, settings json default '{}', sender text default null, author text default session_user
) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
  one wa.campaigns;
begin
  insert into wa.campaigns (name, payload, sender, created_by, state_changed_by)
  values (create_campaign.name, create_campaign.payload, create_campaign.sender, author, author)
  returning * into one;
  if exists (select from json_object_keys(settings)) then
    perform wa.put_campaign_settings(one, settings);
  end if;
  return one.id;
end
$$;

-- Changes settings of a campaign, by someone's word.
create function wa.set_campaign(campaign bigint, settings json, author text default session_user, reason text default null) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
  one wa.campaigns;
begin
  select c.* into one from wa.campaigns c where c.id = set_campaign.campaign for update;
  if not found then
    raise exception using errcode = 'no_data_found', message = format('there is no campaign %s', campaign),
      hint = 'see which there are: wa-outbox campaign list';
  end if;
  perform wa.put_campaign_settings(one, settings);
  insert into wa.campaign_events (campaign, what, author, reason)
  values (one.id, 'set', author, concat_ws(': ',
    wa.plain_settings(settings) || case when settings -> 'payload' is null then '{}' else '{"payload": "another"}' end::jsonb, reason));
  perform wa.call_campaign_owner(one.sender);
end
$$;

-- ── a recipient ──────────────────────────────────────────────────────────────────────────────────────────────────

-- Fills in what is the campaign's, and refuses what contradicts it. Looks at its row once for each recipient, by its key.
create function wa.campaign_row_is_filled() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  one record;
begin
  select c.sender, c.priority, c.state, c.expires_after, c.name into one from wa.campaigns c where c.id = new.campaign_id;
  if not found then
    perform wa.refuse('campaign_id', format('campaign_id is %s: there is no such campaign', new.campaign_id),
      'see which there are: wa-outbox campaign list');
  end if;
  if one.state in ('cancelled', 'done') then
    perform wa.refuse('campaign_id', format('campaign %s is %s', one.name, one.state), case one.state
      when 'done' then 'to add recipients, start it again: wa-outbox campaign start ' || one.name else 'make a new campaign' end);
  end if;
  if new.variables is null then
    new.variables := '{}';
  elsif jsonb_typeof(new.variables) <> 'object' then
    perform wa.refuse('variables', format('variables is %s, not an object', jsonb_typeof(new.variables)),
      'write the values by name, e.g. {"first_name":"Ada"}');
  end if;
  if new.payload is not null then
    perform wa.refuse('payload', 'payload is given together with campaign_id', 'leave it out: the campaign has the payload, variables fill it');
  end if;
  if new.sequence is not null then
    perform wa.refuse('sequence', 'sequence is given together with campaign_id', 'leave one of them out: a campaign keeps no order');
  end if;
  if new.sender is null then
    new.sender := one.sender;
  elsif new.sender <> one.sender then
    perform wa.refuse('sender', format('sender %s is not the campaign''s, %s', wa.shown(new.sender), wa.shown(one.sender)), 'leave it out');
  end if;
  -- 5 is what an INSERT that does not say has.
  if new.priority is null or new.priority = 5 then
    new.priority := one.priority;
  elsif new.priority <> one.priority then
    perform wa.refuse('priority', format('priority is %s and the campaign''s is %s', new.priority, one.priority), 'leave it out');
  end if;
  if new.expires_at is null and one.expires_after is not null then
    new.expires_at := greatest(new.due_at, now()) + one.expires_after;
  end if;
  return new;
end
$$;

-- Before outbox_row_is_checked, by its name: that one then finds nothing to mend.
create trigger campaign_row_is_filled before insert on wa.outbox
for each row when (new.campaign_id is not null)
execute function wa.campaign_row_is_filled();

-- ── who must not be messaged ─────────────────────────────────────────────────────────────────────────────────────

-- Counts for rows of campaigns: one that waits for a suppressed recipient ends as cancelled before any request. What an
-- application writes by itself is its own answer to somebody, and is sent.
create table wa.suppressions (
  suppression bigint generated always as identity primary key,
  recipient text not null
    constraint a_suppression_names_a_recipient check (recipient <> ''),
  sender text references wa.senders,
  category text
    constraint category_is_marketing_utility_or_authentication check (category in ('marketing', 'utility', 'authentication')),
  reason text not null,
  source text not null default 'operator'
    constraint a_suppression_comes_of_operator_import_answer_or_webhook check (source in ('operator', 'import', 'answer', 'webhook')),
  expires_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null default session_user
);
comment on table wa.suppressions is 'recipients to whom no campaign is sent';
comment on column wa.suppressions.sender is 'null: from every sender';
comment on column wa.suppressions.category is 'of templates; null: of every category';
comment on column wa.suppressions.source is 'answer: WhatsApp said that they have stopped it (131050); webhook: they said so in WhatsApp (user_preferences)';
create unique index a_recipient_is_suppressed_once on wa.suppressions (recipient, coalesce(sender, ''), coalesce(category, ''));

create function wa.suppression_is_checked() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  if new.recipient ~ '^\s*[+0-9(]' then
    new.recipient := wa.checked_recipient(new.recipient, 'phone');
  end if;
  return new;
end
$$;
create trigger suppression_is_checked before insert or update on wa.suppressions
for each row when (new.recipient !~ '^\+[1-9][0-9]{6,14}$')
execute function wa.suppression_is_checked();

-- Why a campaign of this category must not write to a recipient; null: it may. A campaign that does not say its category is taken
-- for any. Found by index whatever the planner knows, also right after a million were imported.
create function wa.suppressed_because(of_recipient text, of_sender text, of_category text) returns text
language plpgsql stable security definer set search_path = pg_catalog set enable_seqscan = off as $$
begin
  return (
    select s.reason from wa.suppressions s
    where s.recipient = of_recipient
      and (s.sender is null or s.sender = of_sender)
      and (s.category is null or of_category is null or s.category = of_category)
      and (s.expires_at is null or s.expires_at > now())
    order by s.suppression
    limit 1);
end
$$;

-- What somebody has chosen in WhatsApp: no marketing messages from this sender any more, or again. Of what WhatsApp tells the latest
-- counts, in whatever order it comes, so one that allows it again stays as a row that has ended. What a person has written is
-- only ever made stricter.
create function wa.note_preference(of_recipient text, of_sender text, stops boolean, told_by text, at timestamptz) returns boolean
language plpgsql set search_path = pg_catalog as $$
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
  return found;
end
$$;

-- Whether a row of a campaign may be begun: its campaign runs, and its recipient may be messaged. Asked at the last moment, so
-- that nothing begins after a pause or a suppression was committed.
create function wa.campaign_row_may_begin(message bigint, of_sender text, of_campaign bigint) returns boolean
language plpgsql stable security definer set search_path = pg_catalog set enable_seqscan = off as $$
begin
  return exists (
    select from wa.campaigns c
    where c.id = of_campaign and wa.campaign_is_open(c.state, c.starts_at, c.ends_at)
      and wa.suppressed_because((select o.recipient from wa.outbox o where o.id = message and o.sender = of_sender), of_sender, c.category)
        is null);
end
$$;

-- Cancels rows of a campaign that wait, each for a reason of its own; says how many. One that was begun meanwhile is on its way and
-- stays.
create function wa.leave_out(of_campaign bigint, messages bigint[], reasons text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog set enable_seqscan = off as $$
declare
  left_out bigint;
begin
  with asked as materialized (
    select q.id, q.sender, q.attempts, q.campaign from wa.queue q
    where q.id = any (messages) and q.campaign = of_campaign and q.state = 'queued'
    order by q.id
    for update
  ), ended as (
    insert into wa.results (id, sender, state, attempts, campaign, error_message)
    select a.id, a.sender, 'cancelled', a.attempts, a.campaign, n.reason
    from asked a join unnest(messages, reasons) as n (id, reason) on n.id = a.id
    on conflict do nothing
    returning id
  )
  select count(*) into left_out from ended;
  return left_out;
end
$$;

-- ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- How what still waits in a campaign ends, whether it has been written into each row yet or not; null: it does not.
create function wa.campaign_end_of_rows(campaign wa.campaigns) returns text
language sql stable parallel safe as $$
  select case when campaign.state = 'cancelled' then 'cancelled' when campaign.ends_at <= now() then 'expired' end
$$;

create function wa.campaign_end_in_words(campaign wa.campaigns) returns text
language sql stable as $$
  select case
    when campaign.state = 'cancelled' then
      format('its campaign was cancelled by %s', campaign.state_changed_by) || coalesce(': ' || campaign.state_reason, '')
    when campaign.ends_at <= now() then 'its campaign ended before it could leave'
  end
$$;

-- What all rows of a campaign wait for; null: it runs.
create function wa.campaign_hold_in_words(campaign wa.campaigns) returns text
language sql stable as $$
  select case
    when campaign.state = 'draft' then format('its campaign to be started: wa-outbox campaign start %s', campaign.name)
    when campaign.state = 'paused' then
      format('its campaign, paused by %s', campaign.state_changed_by) || coalesce(': ' || campaign.state_reason, '')
      || format('; resume it: wa-outbox campaign resume %s', campaign.name)
    when campaign.state = 'done' then 'its campaign to be opened again: it came when the campaign was done'
    when campaign.starts_at > now() then format('its campaign to begin at %s', to_char(campaign.starts_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'))
  end
$$;

-- ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────

revoke execute on function wa.lead_campaign(bigint, text, text, text), wa.leave_out(bigint, bigint[], text[]), wa.fold_campaign_deltas(integer),
  wa.call_campaign_owner(text), wa.note_preference(text, text, boolean, text, timestamptz), wa.put_campaign_settings(wa.campaigns, json), wa.create_campaign(text, json, json, text, text),
  wa.set_campaign(bigint, json, text, text),
  wa.start_campaign(bigint, text, text), wa.pause_campaign(bigint, text, text), wa.resume_campaign(bigint, text, text),
  wa.cancel_campaign(bigint, text, text)
from public;
grant execute on function wa.lead_campaign(bigint, text, text, text), wa.leave_out(bigint, bigint[], text[]), wa.create_campaign(text, json, json, text, text),
  wa.set_campaign(bigint, json, text, text),
  wa.start_campaign(bigint, text, text), wa.pause_campaign(bigint, text, text), wa.resume_campaign(bigint, text, text),
  wa.cancel_campaign(bigint, text, text)
to wa_producer, wa_worker;
grant execute on function wa.fold_campaign_deltas(integer), wa.call_campaign_owner(text),
  wa.note_preference(text, text, boolean, text, timestamptz) to wa_worker;

grant insert (name, sender, payload, category, priority, rate_share, max_per_second, ramp, starts_at, ends_at, quiet_hours, time_zone,
  expires_after, pause_failure_share, pause_window, pause_at_least, complete, created_by)
  on wa.campaigns to wa_producer, wa_worker;
grant update (state, state_reason, state_changed_at, state_changed_by, preflight, preflight_at) on wa.campaigns to wa_worker;
grant update (preflight, preflight_at) on wa.campaigns to wa_producer;
grant insert on wa.campaign_events to wa_worker;
grant select on wa.campaigns, wa.campaign_events, wa.campaign_counts, wa.campaign_pace to wa_producer, wa_worker, wa_viewer;
grant select, insert, update, delete on wa.suppressions to wa_worker;
grant select, insert on wa.suppressions to wa_producer;
grant select on wa.suppressions to wa_viewer;
