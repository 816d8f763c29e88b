-- All messages. From $1 on towards older ones, $3 at most; and whether each is of the sender $2, where one is given.
select id as "id!", ($2::text is null or sender = $2) as "is_of_sender!"
from wa.outbox
where id < $1
order by id desc
limit $3
