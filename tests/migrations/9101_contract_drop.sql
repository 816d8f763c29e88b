-- refused: name
alter table wa.outbox drop column reference;
