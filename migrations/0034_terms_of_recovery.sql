-- Begins to settle an era, on these terms; if that was begun before, on the terms of then. False: it is settled. Terms by which nothing was
-- lost are refused: what is not in doubt is sent again.
create or replace function wa.start_recovery(of_era bigint, since timestamptz, until timestamptz, longer interval, keep boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
begin
  if start_recovery.until <= coalesce(start_recovery.since, (select e.complete_until from wa.eras e where e.era = of_era)) then
    perform wa.refuse('until', format('until is %s, and the database is complete up to %s', start_recovery.until,
      coalesce(start_recovery.since, (select e.complete_until from wa.eras e where e.era = of_era))),
      'give the last moment at which the lost database can have sent something, or leave it out for now');
  end if;
  update wa.eras e set
    failed_at = coalesce(start_recovery.until, clock_timestamp()), wait = start_recovery.longer, keeps_silent = start_recovery.keep,
    complete_until = coalesce(start_recovery.since, e.complete_until),
    doubtful_ids = case when start_recovery.since is null then e.doubtful_ids else coalesce(
      (select o.id from wa.outbox o where o.created_at <= start_recovery.since order by o.id desc limit 1), 0) end
  where e.era = of_era and e.settled_at is null and e.failed_at is null;
  return exists (select from wa.eras e where e.era = of_era and e.settled_at is null);
end
$$;
