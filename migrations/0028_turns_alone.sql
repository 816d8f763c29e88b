-- no-transaction
-- (An older program that runs beside this one has no index to see by whether a sender has anything in the queue: it reads all of it.)
drop index concurrently if exists wa.queue_in_order;
