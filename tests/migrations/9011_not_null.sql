-- refused: adding-not-nullable-field
alter table wa.outbox alter column reference set not null;
