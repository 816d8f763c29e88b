-- refused: require-concurrent-index-deletion
drop index wa.status_events_unmatched;
