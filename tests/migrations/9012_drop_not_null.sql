-- refused: ban-drop-not-null
alter table wa.outbox alter column recipient drop not null;
