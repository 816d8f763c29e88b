-- Hands everything over that the worker holds, evenly: each sender to whoever has least by then. Free where there is nobody.
-- From now on others hand it nothing.
with leaving as (
  update wa.workers set leaving = true where worker = $1 and not leaving
), mine as materialized (
  select h.sender, row_number() over (order by h.sender) as place
  from (select l.sender from wa.leases l where l.worker = $1 for update) h
), room as (
  select s.worker, row_number() over (order by s.held + n, s.worker) as place
  from wa.fair_shares(make_interval(secs => $2)) s, generate_series(1, (select count(*) from mine)) as n
  where s.worker <> $1
), given as (
  update wa.leases l
  set worker = r.worker, epoch = l.epoch + 1, taken_at = now(), problem = null
  from mine m left join room r on r.place = m.place
  where l.sender = m.sender
  returning l.worker
), told as materialized (
  select pg_notify('wa_outbox_lease', r.worker::text) from (select distinct g.worker from given g where g.worker is not null) r
)
select (select count(g.worker) from given g) as "given!", (select count(*) from given g where g.worker is null) as "freed!",
  (select count(*) from told) as "told!"
