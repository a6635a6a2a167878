// A page that nobody looks at does not ask for news, and one whose form is being filled in is not replaced.
document.addEventListener("htmx:beforeRequest", (event) => {
    const live = event.detail.elt.hasAttribute("data-live");
    const busy = event.detail.elt.contains(document.activeElement) && document.activeElement.matches("select, input:not([type=hidden])");
    if (live && (document.hidden || busy)) event.preventDefault();
    else if (!live) document.getElementById("trouble").replaceChildren();
});
