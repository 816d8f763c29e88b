-- What this worker holds above its fair share, and who should have it instead. Every worker that looks at the same state
-- computes the same plan and carries out its own part, so that two that give at once do not fill the same place. What was
-- taken last goes first: it has least at hand.
with shares as materialized (
  select s.worker, s.held, s.fair from wa.fair_shares(make_interval(secs => $2)) s
), excess as (
  select h.sender, h.epoch, h.worker, row_number() over (order by h.worker, h.nth) as place
  from (
    select l.sender, l.epoch, l.worker, s.held - s.fair as too_many,
      row_number() over (partition by l.worker order by l.taken_at desc, l.sender) as nth
    from wa.leases l join shares s on s.worker = l.worker
    where s.held > s.fair
  ) h
  where h.nth <= h.too_many
), room as (
  select r.worker, row_number() over (order by r.level, r.worker) as place
  from (select s.worker, generate_series(s.held + 1, s.fair) as level from shares s) r
)
select e.sender as "sender!", e.epoch as "epoch!", r.worker as "receiver!"
from excess e join room r on r.place = e.place
where e.worker = $1
order by e.sender
