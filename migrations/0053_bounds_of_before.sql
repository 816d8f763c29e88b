-- What was written before spans were looked at (the migration spans), as far as it can be meant.

update wa.senders s
set delivery_timeout = make_interval(secs => least(greatest(extract(epoch from s.delivery_timeout), 1), 3600 * 86400)::float8)
where wa.has_a_negative_part(s.delivery_timeout);

update wa.sequence_defaults d
set delivery_timeout = make_interval(secs => least(greatest(extract(epoch from d.delivery_timeout), 1), 3600 * 86400)::float8)
where wa.has_a_negative_part(d.delivery_timeout);

update wa.sequences s
set delivery_timeout = make_interval(secs => least(greatest(extract(epoch from s.delivery_timeout), 1), 3600 * 86400)::float8)
where wa.has_a_negative_part(s.delivery_timeout);

update wa.campaigns c
set expires_after = make_interval(secs => least(greatest(extract(epoch from c.expires_after), 1), 36000::bigint * 86400)::float8)
where wa.has_a_negative_part(c.expires_after) or c.expires_after > '100 years';

update wa.campaigns c
set pause_window = make_interval(secs => least(greatest(extract(epoch from c.pause_window), 10), 86400)::float8)
where wa.has_a_negative_part(c.pause_window);

update wa.eras e
set wait = make_interval(secs => least(greatest(extract(epoch from e.wait), 0), 36000::bigint * 86400)::float8)
where wa.has_a_negative_part(e.wait) or e.wait > '100 years';

-- What was put aside because such a span stood in its way is applied now; each alone, for one may be refused for another reason.
with again as (
  update wa.webhook_inbox i set state = 'stored', applied_at = null, bad_entries = null
  where i.state = 'bad' and i.bad_entries::text like '%the database refuses what it holds%'
  returning i.id
)
insert into wa.webhook_pending (deliveries) select array[a.id] from again a order by a.id;

alter table wa.campaigns
  validate constraint expires_after_is_at_most_a_hundred_years,
  validate constraint max_per_second_is_at_least_0_0001;
alter table wa.eras validate constraint evidence_is_waited_for_at_most_a_hundred_years_longer;
alter table wa.template_holds validate constraint a_language_has_a_code;
