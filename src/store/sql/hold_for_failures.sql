-- Templates whose messages WhatsApp took and failed afterwards, for what their template is. Held as the same code in an answer holds
-- them, from the moment that the failure is of: what comes late has less of its rest left, or none, and says nothing against a
-- release that was later. (WhatsApp's times are whole seconds, so a failure may be a second younger than it says.)
insert into wa.template_holds (sender, template, language, cause, reason, code, held_by, held_until)
select t.sender, t.template, t.language, 'answer', t.reason, t.code, $7, t.failed_at + make_interval(secs => t.rest)
from (
  select o.sender, p.payload -> 'template' ->> 'name' as template,
    replace(p.payload -> 'template' -> 'language' ->> 'code', '-', '_') as language,
    f.code, f.reason, least(f.failed_at, now()) as failed_at, f.rest
  from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::text[], $6::float8[])
    as f (id, sender, failed_at, code, reason, rest)
  join wa.outbox o on o.id = f.id and o.sender = f.sender
  left join wa.campaigns c on c.id = o.campaign_id
  cross join lateral (select coalesce(o.payload, c.payload) as payload) p
  where p.payload ->> 'type' = 'template'
) t
where t.template <> '' and length(t.template) <= 512 and (t.language is null or t.language ~ '^[A-Za-z0-9_]{1,64}$')
  and t.failed_at + make_interval(secs => t.rest) > now()
  and not exists (
    select from wa.template_holds h
    where h.sender = t.sender and h.template = t.template and h.language is not distinct from t.language
      and h.released_at >= t.failed_at + interval '1 s')
order by t.sender, t.template, t.language
on conflict do nothing
