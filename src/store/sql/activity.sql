-- Of what is told twice (queued, oldest due: each process looks at the whole database) the most counts; the rest adds up.
select date_bin(make_interval(secs => $1), a.at, timestamptz '2020-01-01 00:00:00+00') as "at!",
  sum(a.accepted)::bigint as "accepted!", sum(a.failed)::bigint as "failed!", sum(a.uncertain)::bigint as "uncertain!",
  sum(a.throttled)::bigint as "throttled!", sum(a.delivered)::bigint as "delivered!", sum(a.undelivered)::bigint as "undelivered!",
  max(a.queued) as queued, max(a.oldest_due_s) as oldest_due_s
from wa.activity a
where a.at >= date_bin(make_interval(secs => $1), now() - make_interval(secs => $1 * $2), timestamptz '2020-01-01 00:00:00+00')
group by 1
order by 1
