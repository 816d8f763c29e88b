-- refused: ban-drop-view
drop view wa.messages;
