-- What a restored database calls begun, or put off, is in doubt like the rest.
--
-- A request that was begun before the restore is in doubt at once: nobody waits until its deadline, when a sweep took it for one that a worker
-- had left behind, and knew nothing of the terms of the recovery. What still comes as its answer is a fact all the same. And a message that was
-- put off (the limit of a pair, quiet hours, a retry) may have left when that was over: it goes by the time that it was written for.

-- Whether a message in the queue may have been sent before the database went back: it was begun, or was there already, and due. What its
-- campaign is not sent for any more was not sent for it.
create or replace function wa.is_doubtful(row_of wa.queue, doubtful_ids bigint, failed_at timestamptz) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select row_of.id <= doubtful_ids
    and (row_of.state = 'sending'
      or row_of.due_at <= coalesce(failed_at, clock_timestamp())
      or (select o.due_at from wa.outbox o where o.id = row_of.id and o.sender = row_of.sender) <= coalesce(failed_at, clock_timestamp()))
    and not exists (select from wa.campaigns c where c.id = row_of.campaign and c.state = 'cancelled')
$$;

-- As before (the migration recovery); but evidence about a request whose deadline is not over is waited for from then on.
create or replace function wa.doubt(ids bigint[], of_era bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  now_era wa.eras;
  taken bigint;
begin
  select e.* into now_era from wa.eras e where e.era = of_era;
  with begun as (
    -- What was begun here keeps the number of its request.
    update wa.queue q set state = 'sending',
      attempt = q.attempt + (q.state = 'queued')::integer, attempts = q.attempts + (q.state = 'queued')::integer,
      epoch = coalesce(q.epoch, 0), begun_at = coalesce(q.begun_at, clock_timestamp()),
      deadline = greatest(case q.state when 'sending' then q.deadline end, clock_timestamp()) + now_era.wait, waiting_for = null
    where q.id = any (ids)
    returning q.*
  ), doubtful as (
    insert into wa.uncertain (id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, since,
      may_resend, doubt, waiting_for, era)
    select b.id, b.sender, b.priority, b.expires_at, b.campaign, b.in_sequence, b.attempt, b.attempts, b.resends, b.begun_at, b.deadline,
      clock_timestamp(), true, 'the database was restored: it may have been sent before',
      'a status webhook that tells whether it was accepted', of_era
    from begun b
    on conflict do nothing
    returning id, sender, attempt, begun_at
  ), noted as (
    insert into wa.attempts (id, sender, attempt, begun_at, outcome, note)
    select d.id, d.sender, d.attempt, d.begun_at, 'uncertain', 'the database was restored: it may have been sent before' from doubtful d
    on conflict do nothing
  )
  select count(*) into taken from doubtful;
  update wa.eras e set doubted = e.doubted + taken where e.era = of_era;
  if now_era.keeps_silent then
    update wa.uncertain u set needs_person = true,
      waiting_for = 'a person: the database was restored; see: wa-outbox uncertain resolve ' || u.id
    where u.id = any (ids) and u.era = of_era and not u.needs_person;
  end if;
  return taken;
end
$$;
