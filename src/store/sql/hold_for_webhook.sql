-- A webhook says that a template cannot be used, and names no sender. Those that have used it lately are held; whoever else uses
-- it finds out by the first answer, which costs nothing. Lately: among the latest messages there are, so the look is bounded; and
-- in campaigns that were begun. Not those that are known to belong to another account: names are unique only within one.
insert into wa.template_holds (sender, template, language, cause, reason, account, held_by, held_until)
select distinct on (o.sender) o.sender, $1, $2::text, 'webhook', $3, $4::text, $5, clock_timestamp() + make_interval(secs => $6)
from (
  (select sender, payload from wa.outbox order by id desc limit 10000)
  union all
  (select sender, payload from wa.campaigns where state in ('running', 'paused'))
) o
where o.payload ->> 'type' = 'template' and o.payload -> 'template' ->> 'name' = $1
  and ($2 is null or replace(o.payload -> 'template' -> 'language' ->> 'code', '-', '_') = $2)
  and not exists (select from wa.sender_numbers n where n.sender = o.sender and n.account <> $4::text)
on conflict do nothing
returning sender
