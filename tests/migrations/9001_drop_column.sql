-- refused: ban-drop-column
alter table wa.outbox drop column reference;
