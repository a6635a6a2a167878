// What htmx does not do by itself: it is told when to look again, asks with a dialog, and says when the server is away.
"use strict";

(() => {
  const every = 2000;
  const pause = document.getElementById("pause");
  const lost = document.getElementById("lost");
  const place = document.getElementById("notice");
  const dialog = document.getElementById("confirm");
  let paused = false;

  // Fragments listen for "tick". Nobody looks at a hidden tab, so it asks nothing.
  const tick = () => {
    if (!document.hidden && !paused) htmx.trigger(document.body, "tick");
  };
  setInterval(tick, every);
  document.addEventListener("visibilitychange", tick);
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Paused" : "Live";
    pause.classList.toggle("pulse", !paused);
    tick();
  });

  // hx-confirm asks with a dialog of the page. The answer is read as it is given: the dialog's "close" comes later, maybe when the next
  // question stands in it.
  let agreed = () => {};
  document.body.addEventListener("htmx:confirm", (event) => {
    if (!event.detail.question) return;
    event.preventDefault();
    const from = event.detail.elt;
    document.getElementById("question").textContent = event.detail.question;
    document.getElementById("yes").textContent = (from.matches("button") ? from : from.querySelector("button:not([type=button])")).textContent;
    agreed = () => event.detail.issueRequest(true);
    dialog.showModal();
  });
  dialog.addEventListener("submit", (event) => {
    const then = agreed;
    agreed = () => {};
    if (event.submitter.value === "yes") then();
  });

  // Errors of the console itself say what is wrong; they stand in the place for notices.
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const xhr = event.detail.xhr;
    if (xhr.getResponseHeader("X-Console") === "notice") {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
    lost.hidden = xhr.status < 500 || event.detail.shouldSwap;
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(name, () => { lost.hidden = false; });
  }

  // A notice that brings no bad news goes by itself.
  let going;
  new MutationObserver(() => {
    clearTimeout(going);
    if (place.querySelector(".notice:not(.bad)")) going = setTimeout(() => place.replaceChildren(), 6000);
  }).observe(place, { childList: true });
  place.addEventListener("click", () => place.replaceChildren());
})();
