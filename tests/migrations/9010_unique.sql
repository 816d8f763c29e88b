-- refused: disallowed-unique-constraint
alter table wa.outbox add constraint reference_is_used_once unique (reference);
