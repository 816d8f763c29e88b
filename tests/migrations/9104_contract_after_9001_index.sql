-- refused: require-concurrent-index-creation
create index outbox_by_reference on wa.outbox (reference);
