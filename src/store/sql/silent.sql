-- Uncertain messages whose evidence clock has run out, and what their policy says.
--
-- Silence counts only when the window has passed since the answer could last have come, with somebody listening all the time;
-- where webhooks flow at all for the sender, a status has been seen for a message accepted after this attempt was begun (without
-- that sign the window stretches, to ten times at most); and whatever had come by the end of the window has been applied. What
-- comes later is not waited for: under steady load something always waits.
--
-- Where nobody listens who once did, the window stretches too, and counts from when the last receiver fell silent or the first
-- worker came: a worker that is back before its receiver must not take the outage of both for silence. Where nobody has ever
-- listened there is nothing to wait for but the window. What was said at a time that lies ahead was said before the clock was set back: who
-- still listens has said so again by the clock as it is.
--
-- All of this is about a sender whose statuses bring our callback data back. Where they do not, no status can ever name a message
-- whose answer was lost: then silence says nothing at all, and to send again is to guess. That is done only where the message or
-- its sender asks for it in so many words; the worker's own setting does not reach it. And so it is with a request of before the sender was
-- moved to another provider: what is known is known of the new one.
--
-- What is in doubt because the database went back waits for a sign that webhooks flow now: what flowed before is not known any more.
--
-- What would be sent again by policy, and whose campaign was cancelled or is over, expires.
--
-- Of one message ($6) it says the same ahead of time: when its clock runs out as things are, and what its policy says then.
with heard as materialized (
  select l.since, l.last_said_at, wa.is_of_now(l.last_said_at, $4) as is_listening
  from wa.webhook_listening l
), around as materialized (
  select (select w.received_at from wa.oldest_waiting_delivery w) as oldest_delivery,
    (select min(w.started_at) from wa.workers w where w.expires_at > now()) as a_worker_since
), doubts as (
  select u.*, coalesce(o.on_uncertain, s.on_uncertain, case when $3::bool or not e.echoes then 'hold' else 'retry' end) as policy,
    e.echoes, wa.campaign_end_of_rows(c) is not null as is_over,
    make_interval(secs => coalesce(s.reconcile_window_s, $1::int)) as evidence_window,
    f.sender is null or f.accepted_watermark > case when u.era is null then u.begun_at else u.since end as flow_has_passed
  from wa.uncertain u
  join wa.outbox o on o.id = u.id and o.sender = u.sender
  join wa.senders s on s.sender = u.sender
  left join wa.webhook_flow f on f.sender = u.sender
  left join wa.campaigns c on c.id = u.campaign
  cross join lateral (select coalesce(s.callback_echo, s.provider = any($5::text[]) or coalesce(f.echoes, false))
    and case when u.era is null then u.begun_at else u.since end >= coalesce(s.way_changed_at, '-infinity') as echoes) e
  where case when $6::bigint is null then not u.needs_person or u.expires_at <= now() else u.id = $6 end
), clocks as (
  select d.*, a.oldest_delivery, coalesce(h.is_listening, true) as is_heard, case
      when not h.is_listening then greatest(d.deadline, h.last_said_at, coalesce(a.a_worker_since, now())) + 10 * d.evidence_window
      when d.flow_has_passed then greatest(d.deadline, h.since) + d.evidence_window
      else greatest(d.deadline + 10 * d.evidence_window, h.since + d.evidence_window)
    end as runs_out_at
  from doubts d cross join around a left join heard h on true
)
select c.id as "id!", c.attempt as "attempt!",
  case
    when c.expires_at <= greatest(now(), c.runs_out_at) then 'expire'
    when c.policy = 'retry' and c.may_resend and c.resends < $2::int then case when c.is_over then 'expire' else 'resend' end
    else 'keep'
  end as "verdict!",
  c.echoes as "echoes!", c.begun_at as "begun_at!", c.runs_out_at as "runs_out_at!", c.is_heard as "is_heard!", c.policy as "policy!"
from clocks c
where $6 is not null or c.runs_out_at <= now() and (c.oldest_delivery is null or c.oldest_delivery > c.runs_out_at)
order by c.begun_at
limit 1000
