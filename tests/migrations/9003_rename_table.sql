-- refused: renaming-table
alter table wa.outbox rename to messages;
