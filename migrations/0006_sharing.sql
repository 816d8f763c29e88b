-- What workers know of each other to share the senders evenly, and what people want to know of workers.

alter table wa.workers
  add column version text,
  add column renewed_at timestamptz not null default now(),
  add column leaving boolean not null default false;
comment on column wa.workers.version is 'of the program that runs there';
comment on column wa.workers.renewed_at is 'a worker that is late is handed nothing, long before it is taken for dead';
comment on column wa.workers.leaving is 'true once it has been told to stop: it hands its senders over and is handed none';

-- How many senders each worker holds, and how many it should. Those share who have renewed lately and stay; to be shared is
-- what they hold and what nobody alive holds. Who has most already gets the ones that cannot be divided, so that what is even
-- stays as it is.
create function wa.fair_shares(renewed_within interval)
returns table (worker bigint, held bigint, fair bigint)
language sql stable set search_path = pg_catalog as $$
  with sharing as (
    select w.worker, count(l.sender) as held
    from wa.workers w left join wa.leases l on l.worker = w.worker
    where not w.leaving and w.expires_at > now() and w.renewed_at > now() - renewed_within
    group by w.worker
  ), free as (
    select count(*) as senders from wa.leases l
    where not exists (select from wa.workers w where w.worker = l.worker and w.expires_at > now())
  ), total as (
    select (select coalesce(sum(held), 0) from sharing)::bigint + f.senders as senders, (select count(*) from sharing) as workers
    from free f
  )
  select s.worker, s.held,
    t.senders / t.workers + (row_number() over (order by s.held desc, s.worker) <= t.senders % t.workers)::integer
  from sharing s, total t
$$;
revoke execute on function wa.fair_shares(interval) from public;
grant execute on function wa.fair_shares(interval) to wa_worker, wa_viewer;
