-- Requests that nobody can record any more, because an earlier holder had begun them. Past their deadline no answer can come to
-- anyone: they become uncertain, never queued. (An answer that is only late in being recorded is still a fact, and ends the
-- message when it is.)
with begun as materialized (
  select q.*, q.deadline < now() as is_lost
  from unnest($1::bigint[], $2::text[], $3::integer[]) as f (id, sender, attempt)
  join wa.queue q on q.id = f.id and q.sender = f.sender
  where q.state = 'sending' and q.attempt = f.attempt
), lost as (
  insert into wa.uncertain
    (id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
  select id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, true,
    'the worker that sent it is gone', 'a status webhook that tells whether it was accepted'
  from begun where is_lost
  on conflict do nothing
  returning id, sender, attempt, begun_at
), noted as (
  insert into wa.attempts (id, sender, attempt, begun_at, outcome, note)
  select id, sender, attempt, begun_at, 'uncertain', 'the worker that sent it is gone' from lost
  on conflict do nothing
)
select b.id, b.sender, b.attempt, b.is_lost as "is_lost!" from begun b
