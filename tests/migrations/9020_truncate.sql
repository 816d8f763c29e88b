-- refused: by-hand
truncate wa.status_events;
