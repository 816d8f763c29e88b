// Before the first paint: light or dark as it was chosen here, else as the system has it.
"use strict";
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* without storage the system decides */ }
