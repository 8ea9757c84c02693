// Keeps what is marked data-live up to date: asks the server for that part of the page again every
// few seconds while the page is looked at, and puts it in place if it has changed. One question at a
// time, however slow the network; after one in vain the next waits longer, up to a minute. Says since
// when nothing was heard, and speaks what is marked data-say when it has changed, and only that.
// Without this script the page reloads by itself.
"use strict";
// Milliseconds: until an answer is no longer waited for, between two questions at most, between two
// looks at the age of what is shown, and how long somebody may write before that age is told.
const GIVE_UP = 30000, LONGEST = 60000, LOOK = 5000, WRITING = 120000;
// What finds the element with the focus again in a part that was replaced.
const finder = (element) => {
  const of = (name) => `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
  if (element.id) return `#${CSS.escape(element.id)}`;
  if (element.hasAttribute("href")) return of("href");
  if (element.matches("summary")) return `#${CSS.escape(element.parentElement.id)} > summary`;
  if (element.matches("button")) return `form[action="${CSS.escape(element.form.getAttribute("action"))}"] ${of("value")}`;
  return element.hasAttribute("aria-label") ? of("aria-label") : null;
};
for (const part of document.querySelectorAll("[data-live]")) {
  const every = Number(part.dataset.every) * 1000, old = Math.max(3 * every, 20000);
  const stale = document.querySelector("[data-stale]"), spoken = document.querySelector("[data-spoken]");
  const saying = () => [...part.querySelectorAll("[data-say]")].map((one) => one.textContent.trim()).join(" ");
  let said = saying(), mark = "", heard = Date.now(), shown = heard, asking = false, wait = every, timer = 0;
  // A field that somebody is in is left alone; what was written and left is put back.
  const writing = () => part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  const written = () => [...part.querySelectorAll("input[id], textarea[id]")].filter((field) => field.value !== field.defaultValue);
  const tell = () => {
    const now = Date.now(), away = now - heard;
    stale.hidden = document.hidden || now - Math.max(heard, shown) < (writing() ? WRITING : old);
    const day = away > 43200000 ? { day: "2-digit", month: "2-digit" } : {};
    const since = new Date(heard).toLocaleString("vi", { hour: "2-digit", minute: "2-digit", timeZone: "Asia/Ho_Chi_Minh", ...day });
    const text = stale.dataset.stale.replace("%s", since);
    if (!stale.hidden && stale.textContent !== text) stale.textContent = text;
  };
  const put = (text) => {
    const active = part.contains(document.activeElement) ? finder(document.activeElement) : null;
    const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
    const moved = [...part.querySelectorAll(".scroll")].map((table) => [finder(table), table.scrollLeft]);
    const kept = written().map((field) => [field.id, field.value]);
    part.innerHTML = text;
    for (const [id, value] of kept) { const same = document.getElementById(id); if (same) same.value = value; }
    for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
    for (const [table, left] of moved) { const same = part.querySelector(table); if (same) same.scrollLeft = left; }
    if (active) { const same = part.querySelector(active); if (same) same.focus({ preventScroll: true }); }
    if (saying() !== said) spoken.textContent = said = saying();
  };
  const ask = async () => {
    const stop = new AbortController(), limit = setTimeout(() => stop.abort(), GIVE_UP);
    try {
      const answer = await fetch(part.dataset.live, { headers: { "X-Part": "live", "If-None-Match": mark }, redirect: "error", signal: stop.signal });
      if (answer.status === 401) location.reload();
      if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
      const text = answer.ok ? await answer.text() : "";
      // Somebody may have begun to write while the answer was on its way.
      if (writing()) return;
      if (answer.ok) { put(text); mark = answer.headers.get("ETag") || ""; }
      heard = Date.now();
    } finally { clearTimeout(limit); }
  };
  const turn = async () => {
    clearTimeout(timer);
    if (asking) return;
    asking = true;
    try {
      if (!document.hidden && !writing()) await ask();
      wait = every;
    } catch (gone) {
      wait = Math.min(2 * wait, LONGEST);
      shown = heard;
    }
    asking = false;
    tell();
    // Many phones that lost the server at once do not all come back at once.
    timer = setTimeout(turn, wait > every ? wait * (0.75 + Math.random() / 2) : wait);
  };
  timer = setTimeout(turn, every);
  setInterval(tell, LOOK);
  document.addEventListener("visibilitychange", () => { shown = Date.now(); turn(); });
  addEventListener("online", turn);
}
// On paper nothing can be unfolded: tables are open while it is printed.
const folded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    if (details.querySelector("table")) { details.open = true; folded.push(details); }
  }
});
addEventListener("afterprint", () => { for (const details of folded.splice(0)) details.open = false; });
