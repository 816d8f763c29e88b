// What a script adds to pages that are whole without it: they stay live, ages are counted on, times are told on this clock, and
// a few keys.
"use strict";

(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");

  // ── times ──
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  function span(seconds) {
    if (seconds < 120) return `${Math.floor(seconds)} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} days`;
  }
  function tellTimes() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = Date.parse(time.getAttribute("datetime"));
      if (Number.isNaN(at)) continue;
      const away = (now - at) / 1000;
      const says = away < -1 ? `in ${span(-away)}` : away < 1 ? "just now" : `${span(away)} ago`;
      if (time.textContent !== says) time.textContent = says;
      time.title = clock.format(at);
    }
  }
  tellTimes();
  setInterval(tellTimes, 1000);

  // ── live ──
  let source = null;
  let isPaused = false;
  function say(words, tone) {
    if (state && state.textContent !== words) state.textContent = words;
    if (state) state.className = tone;
  }
  function take(news) {
    document.title = `${news.title} · wa-outbox`;
    for (const part of news.parts) {
      const known = document.getElementById(part.id);
      const fresh = `<section id="${part.id}">${part.html}</section>`;
      if (known) Idiomorph.morph(known, fresh, { morphStyle: "outerHTML", ignoreActiveValue: true });
      else main.insertAdjacentHTML("beforeend", fresh);
    }
    for (const section of [...main.querySelectorAll(":scope > section")]) {
      if (!news.order.includes(section.id)) section.remove();
    }
    tellTimes();
    say("Live", "well");
  }
  function begin() {
    if (source || isPaused || document.hidden || !main || !main.dataset.live) return;
    say("Connecting…", "quiet");
    source = new EventSource(`/live?at=${encodeURIComponent(main.dataset.live)}`);
    source.addEventListener("parts", (event) => take(JSON.parse(event.data)));
    source.addEventListener("stale", () => say("The database does not answer; trying again", "bad"));
    source.addEventListener("gone", () => { end(); say("This is gone", "bad"); });
    source.addEventListener("over", () => location.reload());
    source.onerror = () => {
      say("Not live; trying again", "doubt");
      if (source && source.readyState === EventSource.CLOSED) { end(); setTimeout(begin, 5000); }
    };
  }
  function end() {
    if (source) source.close();
    source = null;
  }
  function setPaused(paused) {
    isPaused = paused;
    if (pause) pause.textContent = paused ? "Go on" : "Pause";
    if (paused) { end(); say("Paused", "quiet"); } else begin();
  }
  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => setPaused(!isPaused));
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  begin();

  // ── keys ──
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      const search = document.getElementById("q");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "p" && pause) {
      setPaused(!isPaused);
    } else if (event.key === "t") {
      const root = document.documentElement;
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page */ }
    }
  });

  // A filter acts when it is chosen.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-at-once]");
    if (form) form.requestSubmit();
  });
})();
