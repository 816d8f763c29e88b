-- refused: renaming-column
alter table wa.outbox rename column reference to their_id;
