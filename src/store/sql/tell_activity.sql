-- By the database's clock, so that the steps of all processes are the same.
insert into wa.activity as a (at, process, accepted, failed, uncertain, throttled, sent, delivered, read, undelivered, queued, oldest_due_s)
values (date_bin(make_interval(secs => $2), clock_timestamp(), timestamptz '2020-01-01 00:00:00+00'), $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
on conflict (at, process) do update set
  accepted = a.accepted + excluded.accepted, failed = a.failed + excluded.failed, uncertain = a.uncertain + excluded.uncertain,
  throttled = a.throttled + excluded.throttled, sent = a.sent + excluded.sent, delivered = a.delivered + excluded.delivered,
  read = a.read + excluded.read, undelivered = a.undelivered + excluded.undelivered,
  queued = coalesce(excluded.queued, a.queued), oldest_due_s = coalesce(excluded.oldest_due_s, a.oldest_due_s)
returning exists (select from wa.tailers t where t.expires_at > clock_timestamp()) as "is_watched!"
