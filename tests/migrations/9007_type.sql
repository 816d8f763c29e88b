-- refused: changing-column-type
alter table wa.outbox alter column priority type integer;
