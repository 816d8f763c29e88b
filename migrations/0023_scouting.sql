-- A worker with many idle senders asks whether any message was written since it looked last.
grant select on sequence wa.outbox_id_seq to wa_worker;
