-- refused: ban-drop-table
drop table wa.audit;
