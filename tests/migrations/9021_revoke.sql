-- refused: by-hand
revoke select on wa.messages from wa_viewer;
