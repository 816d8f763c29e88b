-- Uncertain messages whose evidence clock has run out, and what their policy says.
--
-- Silence counts only when: the window has passed since the answer could last have come; no webhook is stored and not yet
-- applied; and, where webhooks flow at all for the sender, a status has been seen for a message accepted after this attempt
-- was begun. Without that last sign the window stretches, to ten times at most.
with windows as (
  select u.*, coalesce(o.on_uncertain, s.on_uncertain, case when $3::bool then 'hold' else 'retry' end) as policy,
    make_interval(secs => coalesce(s.reconcile_window_s, $1::int)) as evidence_window, f.accepted_watermark,
    f.last_status_at is not null as webhooks_flow
  from wa.uncertain u
  join wa.outbox o on o.id = u.id and o.sender = u.sender
  join wa.senders s on s.sender = u.sender
  left join wa.webhook_flow f on f.sender = u.sender
  where not u.needs_person or u.expires_at <= now()
)
select w.id as "id!",
  case
    when w.expires_at <= now() then 'expire'
    when w.policy = 'retry' and w.may_resend and w.resends < $2::int then 'resend'
    else 'keep'
  end as "verdict!"
from windows w
where w.deadline + w.evidence_window <= now()
  and (not w.webhooks_flow or w.accepted_watermark > w.begun_at or w.deadline + 10 * w.evidence_window <= now())
  and not exists (select from wa.webhook_inbox i where i.state = 'pending')
order by w.begun_at
limit 1000
