-- Who watches the fleet at this moment (`wa-outbox tail`), and what it is told meanwhile.
--
-- What happens on the way of ordinary messages is told by the processes that do it, out of their memory and in batches, and only
-- while somebody watches: their transactions know nothing of it. What is rare, and may be done by anybody's SQL (a hold, a halt, a
-- cancelled message), is told by triggers, in the transaction that does it. While nobody watches these look into an empty table.
--
-- None of it is a fact that anything rests on, so it need not survive a crash of the database.

create unlogged table wa.tailers (
  tailer bigint generated always as identity primary key,
  filter jsonb not null,
  watches text not null,
  since timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
) with (fillfactor = 50);
comment on table wa.tailers is 'who runs wa-outbox tail now; one that dies is forgotten when it expires';
comment on column wa.tailers.filter is 'what it wants to be told; left out: everything';
comment on column wa.tailers.watches is 'who watches, as user@host';

create unlogged table wa.tail_batches (
  tailer bigint not null,
  batch bigint generated always as identity,
  process text,
  events jsonb not null,
  left_out integer not null default 0,
  told_at timestamptz not null default clock_timestamp(),
  primary key (tailer, batch)
);
comment on table wa.tail_batches is 'told and not read yet: deleted as it is read';
comment on column wa.tail_batches.process is 'who tells; null: a trigger';
comment on column wa.tail_batches.events is 'in order; no recipient and no wamid is among them, for who reads looks that up by the id';
comment on column wa.tail_batches.left_out is 'there were so many more events';

-- Tells everybody who watches. What they do not want to know they leave out themselves: these events are few.
create function wa.tell_tailers(event jsonb) returns void
language sql security definer set search_path = pg_catalog as $$
  insert into wa.tail_batches (tailer, events)
  select t.tailer, jsonb_build_array(jsonb_strip_nulls(event) || jsonb_build_object('at', clock_timestamp()))
  from wa.tailers t
  where t.expires_at > clock_timestamp()
$$;

create function wa.ended_message_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(jsonb_build_object('kind', new.state, 'sender', new.sender, 'message', new.id, 'text', new.error_message));
  return null;
end
$$;
-- Of the rows of a campaign that ends nothing is told, there may be a million of them: that it has ended is told once.
create trigger ended_message_is_told after insert on wa.results
for each row when (new.state in ('cancelled', 'expired') and (new.campaign = 0 or new.error_message not like 'its campaign %'))
execute function wa.ended_message_is_told();

create function wa.settled_doubt_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(jsonb_build_object(
    'kind', 'settled', 'sender', new.sender, 'message', new.id, 'attempt', new.attempt,
    'by', case when new.settled_by like 'operator %' then substr(new.settled_by, 10) end,
    'text', case
      when new.settled_by = 'webhook' then 'accepted: a webhook told it'
      when new.settled_by = 'response' then 'accepted: its answer came late'
      else new.settled_note end));
  return null;
end
$$;
-- Who settles it by an operator's word writes that word a moment later.
create trigger settled_doubt_is_told after update of settled_by on wa.attempts
for each row when (new.settled_by is distinct from old.settled_by and new.settled_by <> 'operator')
execute function wa.settled_doubt_is_told();
create trigger doubt_that_was_settled_before_is_told after insert on wa.attempts
for each row when (new.settled_by is not null and new.settled_by <> 'operator')
execute function wa.settled_doubt_is_told();

create function wa.doubt_left_to_a_person_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(jsonb_build_object(
    'kind', 'left_to_person', 'sender', new.sender, 'message', new.id, 'attempt', new.attempt, 'text', new.waiting_for));
  return null;
end
$$;
create trigger doubt_left_to_a_person_is_told after update on wa.uncertain
for each row when (new.needs_person and not old.needs_person)
execute function wa.doubt_left_to_a_person_is_told();

create function wa.sender_hold_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(case
    when new.held_reason is null then jsonb_build_object(
      'kind', 'sender_released', 'sender', new.sender, 'by', new.released_by, 'text', new.released_why)
    else jsonb_build_object(
      'kind', 'sender_held', 'sender', new.sender, 'by', new.held_by, 'text', new.held_reason, 'code', new.held_code) end);
  return null;
end
$$;
-- A probe that was refused begins no new hold.
create trigger sender_hold_is_told after update on wa.senders
for each row when (new.held_at is distinct from old.held_at)
execute function wa.sender_hold_is_told();

create function wa.template_hold_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(case
    when new.released_at is null then jsonb_build_object(
      'kind', 'template_held', 'by', new.held_by, 'text', new.reason, 'code', new.code)
    else jsonb_build_object('kind', 'template_released', 'by', new.released_by, 'text', new.released_why) end
    || jsonb_build_object('sender', new.sender, 'about', new.template || coalesce(' (' || new.language || ')', '')));
  return null;
end
$$;
create trigger template_hold_is_told after insert on wa.template_holds
for each row execute function wa.template_hold_is_told();
create trigger template_release_is_told after update on wa.template_holds
for each row when (new.released_at is not null and old.released_at is null)
execute function wa.template_hold_is_told();

create function wa.sequence_event_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(jsonb_build_object(
    'kind', case new.what
      when 'halted' then 'sequence_halted'
      when 'cancelled' then 'sequence_cancelled'
      when 'skipped' then 'sequence_skipped'
      when 'passed_over' then 'sequence_skipped'
      else 'sequence_resumed' end,
    'sender', new.sender, 'message', new.member, 'about', new.sequence, 'by', new.author, 'text', new.reason));
  return null;
end
$$;
create trigger sequence_event_is_told after insert on wa.sequence_events
for each row when (new.what <> 'set')
execute function wa.sequence_event_is_told();

create function wa.campaign_event_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.tell_tailers(jsonb_build_object(
    'kind', case new.what
      when 'started' then 'campaign_started'
      when 'paused' then 'campaign_paused'
      when 'cancelled' then 'campaign_cancelled'
      when 'done' then 'campaign_done'
      else 'campaign_resumed' end,
    'sender', c.sender, 'campaign', c.id, 'about', c.name, 'by', new.author, 'text', new.reason))
  from wa.campaigns c where c.id = new.campaign;
  return null;
end
$$;
create trigger campaign_event_is_told after insert on wa.campaign_events
for each row when (new.what in ('started', 'paused', 'resumed', 'reopened', 'cancelled', 'done'))
execute function wa.campaign_event_is_told();

revoke execute on function wa.tell_tailers(jsonb), wa.ended_message_is_told(), wa.settled_doubt_is_told(),
  wa.doubt_left_to_a_person_is_told(), wa.sender_hold_is_told(), wa.template_hold_is_told(), wa.sequence_event_is_told(),
  wa.campaign_event_is_told() from public;

-- Who may look may watch; what is told there, processes tell as members of wa_worker.
grant select, insert (filter, watches, expires_at), update (expires_at), delete on wa.tailers to wa_worker, wa_viewer;
grant select, delete on wa.tail_batches to wa_worker, wa_viewer;
grant insert (tailer, process, events, left_out) on wa.tail_batches to wa_worker;
