// Keeps what is marked data-live up to date: asks the server for that part of the page again every
// few seconds while the page is looked at, and puts it in place if it has changed. Without this
// script the page reloads by itself.
"use strict";
for (const part of document.querySelectorAll("[data-live]")) {
  const every = Number(part.dataset.every) * 1000;
  let shown = "";
  const update = async () => {
    // A form that is being filled in is left alone.
    const writing = part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
    if (document.hidden || writing) return;
    try {
      const answer = await fetch(part.dataset.live, { headers: { "X-Part": "live" }, redirect: "error" });
      if (answer.status === 401) location.reload();
      if (!answer.ok) return;
      const text = await answer.text();
      if (text === shown) return;
      const focused = document.activeElement && part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
      part.innerHTML = shown = text;
      for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
      if (focused) { const same = part.querySelector(`[href="${CSS.escape(focused)}"]`); if (same) same.focus({ preventScroll: true }); }
    } catch (gone) { /* The network is away: what is shown says of when it is. */ }
  };
  setInterval(update, every);
  document.addEventListener("visibilitychange", update);
}
