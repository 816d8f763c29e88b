-- The write-ahead intent. The lease rows are locked for share, so a takeover waits for us: nothing of an old epoch can begin
-- after it. (A join without the lock was shown to let a zombie begin.) And nothing begins in another database than the one that the
-- worker knows, nor where it is not settled what the database has forgotten, whichever senders are held: it may have been sent.
--
-- $2, $3 and $4 are the messages, in the order of their ids, and of each its sender and the epoch.
--
-- A row may be locked by an application's transaction (wa.cancel), which may stay open for long, and here are messages of all senders. It is
-- waited for $9 and no longer; then the same is asked again with $8, which leaves locked rows out. Not at once: to lock rows before they are
-- changed is to write to the log for each of them.
with fence as materialized (
  select l.sender, l.epoch
  from wa.leases l
  where l.worker = $1
    and (l.sender, l.epoch) in (select distinct c.sender, c.epoch from unnest((select $3::text[]), (select $4::bigint[])) as c (sender, epoch))
    and exists (select from wa.workers w where w.worker = $1 and w.expires_at > clock_timestamp())
    and ($6::bigint is null or (select wa.is_here($6, $7)))
    and not (select wa.is_unsettled())
    and ($8 or (select set_config('lock_timeout', $9, true)) is not null)
  order by l.sender
  for share
), free as materialized (
  select q.id from wa.queue q where $8 and q.id = any ((select $2::bigint[])::bigint[]) order by q.id for update skip locked
)
update wa.queue q
set state = 'sending', epoch = (select $4::bigint[])[width_bucket(q.id, (select $2::bigint[]))], attempt = q.attempt + 1,
  attempts = q.attempts + 1, begun_at = clock_timestamp(), deadline = clock_timestamp() + make_interval(secs => $5), waiting_for = null
-- (That the planner does not see how many there are makes it keep one plan for one and for many: to plan took as long as to begin. And the
-- epoch of each is found by its place among the ids, not by a join with the senders: that looked for all messages once for each sender, 14 s
-- for one message of each of 5,000.)
where q.id = any ((select $2::bigint[])::bigint[])
  and ((q.sender, (select $4::bigint[])[width_bucket(q.id, (select $2::bigint[]))]) in (select f.sender, f.epoch from fence f)) is true
  and q.state = 'queued'
  and (not $8 or q.id in (select f.id from free f))
  and (q.campaign = 0 or wa.campaign_row_may_begin(q.id, q.sender, q.campaign))
returning q.id, q.attempt, q.attempts, q.begun_at as "begun_at!"
