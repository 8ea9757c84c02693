// Keeps what is marked data-live up to date: asks the server for that part of the page again every
// few seconds while the page is looked at, and puts it in place if it has changed. Says so when the
// server cannot be reached, and speaks what is marked data-say when it has changed, and only that.
// Without this script the page reloads by itself.
"use strict";
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
  const every = Number(part.dataset.every) * 1000;
  const stale = document.querySelector("[data-stale]"), spoken = document.querySelector("[data-spoken]");
  const saying = () => [...part.querySelectorAll("[data-say]")].map((one) => one.textContent.trim()).join(" ");
  let said = saying(), mark = "", heard = Date.now();
  const update = async () => {
    // A form that is being filled in is left alone.
    const writing = part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
    if (document.hidden || writing) return;
    try {
      const answer = await fetch(part.dataset.live, { headers: { "X-Part": "live", "If-None-Match": mark }, redirect: "error" });
      if (answer.status === 401) location.reload();
      if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
      if (answer.ok) {
        const text = await answer.text();
        mark = answer.headers.get("ETag") || "";
        const active = part.contains(document.activeElement) ? finder(document.activeElement) : null;
        const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
        const moved = [...part.querySelectorAll(".scroll")].map((table) => [finder(table), table.scrollLeft]);
        part.innerHTML = text;
        for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
        for (const [table, left] of moved) { const same = part.querySelector(table); if (same) same.scrollLeft = left; }
        if (active) { const same = part.querySelector(active); if (same) same.focus({ preventScroll: true }); }
        if (saying() !== said) spoken.textContent = said = saying();
      }
      heard = Date.now();
      stale.hidden = true;
    } catch (gone) {
      stale.hidden = Date.now() - heard < Math.max(3 * every, 20000);
    }
  };
  setInterval(update, every);
  document.addEventListener("visibilitychange", update);
}
