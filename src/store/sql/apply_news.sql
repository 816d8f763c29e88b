-- What is new about messages. A time once known is kept, so repeated, late and reordered statuses change nothing. Returns members of
-- sequences.
--
-- Two appliers that meet on the same messages come in one order, that of the ids, and wait for each other. (The order of the news is that
-- of the updates as each is looked up by its key. To lock all rows first, to be sure of it, took a third of the time; and who loses in a
-- deadlock tries again.)
with news as materialized (
  select *
  from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
    $7::timestamptz[], $8::bigint[], $9::text[])
    as n (id, sender, sent_at, delivered_at, read_at, played_at, failed_at, error_code, error_message)
  order by n.id, n.sender
), applied as (
  update wa.results r set
    sent_at = coalesce(r.sent_at, n.sent_at), delivered_at = coalesce(r.delivered_at, n.delivered_at),
    read_at = coalesce(r.read_at, n.read_at), played_at = coalesce(r.played_at, n.played_at),
    failed_at = coalesce(r.failed_at, n.failed_at),
    error_code = coalesce(r.error_code, n.error_code), error_message = coalesce(r.error_message, n.error_message)
  from news n
  -- (By a case, so that the planner does not guess how many that are: where its statistics were of no result at all it guessed one, began with
  -- the results, and compared each of them with all the news: 3 s for 2,000.)
  where r.id = n.id and r.sender = n.sender and case when r.state = 'accepted' then
    n.sent_at is not null and r.sent_at is null or n.delivered_at is not null and r.delivered_at is null
    or n.read_at is not null and r.read_at is null or n.played_at is not null and r.played_at is null
    or n.failed_at is not null and r.failed_at is null end
  returning r.id, r.in_sequence
)
select id as "id!" from applied where in_sequence order by id
