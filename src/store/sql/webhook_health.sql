-- How webhooks flow, in numbers that go no further than $1 rows.
select
  wa.count_waiting_deliveries($1) as "pending!",
  (select w.received_at from wa.oldest_waiting_delivery w) as oldest_pending_at,
  (select i.received_at from wa.webhook_inbox i order by i.id desc limit 1) as last_delivery_at,
  (select max(f.last_status_at) from wa.webhook_flow f) as last_status_at,
  (select count(*) from (
     select from wa.webhook_inbox i where i.state = 'bad' or i.bad_entries is not null order by i.id desc limit $1) c) as "bad!",
  (select count(*) from (
     select from wa.status_events e where e.id is null order by e.received_at desc limit $1) c) as "unmatched!",
  (select wa.is_of_now(l.last_said_at, $2) from wa.webhook_listening l) as is_listening,
  clock_timestamp() as "now!"
