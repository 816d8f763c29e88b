-- What has not ended, each counted along a key and up to $1; and how many messages there are: counted up to $1, and as Postgres estimates
-- it, by the density of rows that it last saw and the size that the table has now.
select
  (select count(*) from (select from wa.queue q order by q.id desc limit $1) c) as "in_queue!",
  (select count(*) from (select from wa.waiting w order by w.sender, w.recipient, w.sequence, w.id limit $1) c) as "waiting!",
  (select count(*) from (select from wa.uncertain u order by u.id limit $1) c) as "uncertain!",
  (select count(*) from (select from wa.outbox o order by o.id desc limit $1) c) as "counted!",
  (select case when t.relpages > 0 and t.reltuples >= 0
     then round(t.reltuples::float8 / t.relpages * (pg_relation_size(t.oid) / current_setting('block_size')::int))
     else 0 end::bigint
   from pg_class t where t.oid = 'wa.outbox'::regclass) as "estimated!",
  clock_timestamp() as "now!"
