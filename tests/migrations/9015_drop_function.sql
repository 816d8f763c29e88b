-- refused: ban-drop-function
drop function wa.cancel(bigint);
