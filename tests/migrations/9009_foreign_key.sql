-- refused: adding-foreign-key-constraint
alter table wa.outbox add constraint sender_exists foreign key (sender) references wa.senders (sender);
