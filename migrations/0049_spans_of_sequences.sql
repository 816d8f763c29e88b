-- As the migration spans has it for senders. In a file of its own, as what follows: a migration that held locks on two tables which an
-- application writes in one transaction would meet it in a deadlock.
create trigger a_span_is_plain before insert or update of delivery_timeout on wa.sequences
for each row when (wa.has_a_negative_part(new.delivery_timeout))
execute function wa.a_span_is_plain('delivery_timeout');
