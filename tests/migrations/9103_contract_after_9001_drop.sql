-- refused: nothing
alter table wa.outbox drop column reference;
