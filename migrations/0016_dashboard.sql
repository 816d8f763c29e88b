-- What the dashboard shows of the fleet's pace, and who did what on it.

-- What each process did in five seconds, told by itself: what charts are drawn from, on the page of any process. No fact anything
-- rests on, so it need not survive a crash of the database.
create unlogged table wa.activity (
  at timestamptz not null,
  process text not null,
  accepted bigint not null,
  failed bigint not null,
  uncertain bigint not null,
  throttled bigint not null,
  sent bigint not null,
  delivered bigint not null,
  read bigint not null,
  undelivered bigint not null,
  queued bigint,
  oldest_due_s double precision,
  primary key (at, process)
);
comment on table wa.activity is 'what each process did in the five seconds from at; kept for a day';
comment on column wa.activity.failed is 'messages that ended by a verdict, or without an attempt left';
comment on column wa.activity.undelivered is 'statuses failed of messages that WhatsApp had taken';
comment on column wa.activity.queued is 'queued and being sent in the whole database, counted up to a limit; null where the process does not look';
grant select, insert, update, delete on wa.activity to wa_worker;
grant select on wa.activity to wa_viewer;

-- What people did by the dashboard: written before it is done, and how it ended afterwards. Nobody changes or removes it.
create table wa.audit (
  event bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  author text not null,
  role text not null,
  address text not null,
  what text not null,
  target text not null,
  reason text not null,
  ended_at timestamptz,
  outcome text,
  succeeded boolean,
  constraint an_end_has_an_outcome check (num_nulls(ended_at, outcome, succeeded) in (0, 3))
);
comment on table wa.audit is 'who did what by the dashboard, to what, why, and how it ended; no recipient and no wamid stands here';
grant select, insert (author, role, address, what, target, reason), update (ended_at, outcome, succeeded) on wa.audit to wa_worker;
grant select on wa.audit to wa_viewer;

create function wa.audit_is_written_once() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
  if old.ended_at is not null then
    raise exception using errcode = 'object_not_in_prerequisite_state', message = format('audit event %s has ended', old.event);
  end if;
  return new;
end
$$;
create trigger audit_is_written_once before update on wa.audit for each row execute function wa.audit_is_written_once();
