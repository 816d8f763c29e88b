-- How everything together stands, for metrics. What can grow (uncertain messages, deliveries, sequences, duplicates) is counted from an
-- index or a narrow table, up to $1 rows; of campaigns, workers and senders there are few.
select u.messages as "uncertain!", u.needs_person as "needs_person!", u.oldest_s as "oldest_uncertain_s!",
  (select count(*) from (select from wa.results where duplicate = 'resend' limit $1) d) as "doubled_by_resend!",
  (select count(*) from (select from wa.results where duplicate = 'transport_retry' limit $1) d) as "doubled_by_transport!",
  wa.count_waiting_deliveries($1) as "webhooks_pending!",
  (select coalesce(greatest(extract(epoch from clock_timestamp() - w.received_at), 0), 0)::float8 from wa.oldest_waiting_delivery w) as "webhook_lag_s!",
  (select count(*) from wa.campaigns where state = 'running') as "campaigns_running!",
  (select count(*) from wa.campaigns where state = 'paused' and state_changed_by = $2) as "campaigns_self_paused!",
  (select count(*) from (select from wa.sequences where halted_at is not null limit $1) h) as "sequences_halted!",
  (select count(*) from wa.template_holds h
   where h.released_at is null and (h.cause <> 'operator' or h.held_until is null or h.held_until > clock_timestamp())) as "templates_held!",
  (select count(*) from wa.workers w where w.expires_at > clock_timestamp()) as "workers!",
  (select count(*) from wa.senders s where not exists (
     select from wa.leases l join wa.workers w on w.worker = l.worker and w.expires_at > clock_timestamp()
     where l.sender = s.sender)) as "senders_unowned!"
from (
  select count(*) as messages, count(*) filter (where needs_person) as needs_person,
    coalesce(greatest(extract(epoch from clock_timestamp() - min(begun_at)), 0), 0)::float8 as oldest_s
  from (select needs_person, begun_at from wa.uncertain limit $1) u
) u
