-- Webhooks say that templates cannot be used, and name no sender. Those that have used them lately are held; whoever else uses one
-- finds out by the first answer, which costs nothing. Lately: among the latest messages there are, read once for all of them; and
-- in campaigns that were begun. Not those that are known to belong to another account: names are unique only within one.
with told as (
  select t.template, t.language, t.reason, t.account, t.nth
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality as t (template, language, reason, account, nth)
), used as (
  select distinct u.sender, u.payload -> 'template' ->> 'name' as template,
    replace(u.payload -> 'template' -> 'language' ->> 'code', '-', '_') as language
  from (
    (select sender, payload from wa.outbox order by id desc limit 10000)
    union all
    (select sender, payload from wa.campaigns where state in ('running', 'paused'))
  ) u
  where u.payload ->> 'type' = 'template'
)
insert into wa.template_holds (sender, template, language, cause, reason, account, held_by, held_until)
select distinct on (t.nth, u.sender) u.sender, t.template, t.language, 'webhook', t.reason, t.account, $5,
  clock_timestamp() + make_interval(secs => $6)
from told t
join used u on u.template = t.template and (t.language is null or u.language = t.language)
where not exists (select from wa.sender_numbers n where n.sender = u.sender and n.account <> t.account)
order by t.nth, u.sender
on conflict do nothing
