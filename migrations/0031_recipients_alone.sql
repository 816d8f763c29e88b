-- no-transaction
drop index concurrently if exists wa.outbox_by_recipient;
