-- refused: constraint-missing-not-valid
alter table wa.outbox add constraint priority_is_small check (priority < 5);
