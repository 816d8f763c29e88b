-- An upload that was answered with an empty id was taken for done: its messages named nothing for the days that a file is kept. Such files are
-- uploaded anew.

delete from wa.media where media_id = '';
