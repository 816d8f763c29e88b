-- Requests that nobody can record any more, because they were begun under an earlier epoch. Past their deadline no answer can
-- come to anyone: they become uncertain, never queued. (An answer that is only late in being recorded is still a fact, and ends
-- the message when it is.)
with begun as (
  select q.* from wa.queue q
  where q.sender = $1 and q.state = 'sending' and q.epoch < $2
), lost as (
  insert into wa.uncertain
    (id, sender, priority, expires_at, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
  select id, sender, priority, expires_at, in_sequence, attempt, attempts, resends, begun_at, deadline, true,
    'the worker that sent it is gone', 'a status webhook that tells whether it was accepted'
  from begun where deadline < clock_timestamp()
  on conflict do nothing
  returning id, sender, attempt, begun_at
), noted as (
  insert into wa.attempts (id, sender, attempt, begun_at, outcome, note)
  select id, sender, attempt, begun_at, 'uncertain', 'the worker that sent it is gone' from lost
  on conflict do nothing
)
select (select count(*) from lost) as "uncertain!",
  (select count(*) from begun where deadline >= clock_timestamp()) as "remaining!"
