-- refused: by-hand
create index concurrently outbox_by_reference on wa.outbox (reference);
