-- refused: renaming-object
alter function wa.cancel(bigint) rename to take_back;
