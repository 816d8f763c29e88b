-- A template may be held whatever its message calls its language.
--
-- A message with the language "pt BR" or "pt.BR" was answered that there is no such template, and the hold could not be written: the message
-- was sent again every second, and no attempt was spent. Who holds a template by hand is still asked for a code as Meta writes it.

alter table wa.template_holds
  -- What older programs write fits the wider one, too.
  -- squawk-ignore ban-drop-constraint
  drop constraint a_language_is_written_like_en_us,
  add constraint a_language_has_a_code check (language <> '' and length(language) <= 64) not valid;
