// What pages do beyond HTML. Everything works without it.
(() => {
  "use strict";
  // the reader's own zone, to choose
  const zones = document.getElementById("zone");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zones && own && ![...zones.options].some((one) => one.value === own)) zones.add(new Option(own));

  // a verb without a selection says so, instead of asking the server
  const rows = document.querySelector("form.rows");
  if (rows) {
    const buttons = rows.querySelectorAll(".verbs button");
    const look = () => {
      const some = rows.querySelector("input[name=id]:checked, input[name=everything]:checked");
      buttons.forEach((one) => { one.disabled = !some; one.title = some ? "" : "Nothing is ticked"; });
    };
    rows.addEventListener("change", look);
    look();
  }

  // keys: / finds, . pauses or goes on, g and a letter opens a page
  let chord = "";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== document.body) return;
    const before = chord;
    chord = event.key === "g" ? "g" : "";
    if (before === "g") {
      const link = [...document.querySelectorAll("header nav a")]
        .find((one) => one.textContent.trim().toLowerCase().startsWith(event.key));
      if (link) link.click();
    } else if (event.key === "/") {
      const field = document.querySelector("form[role=search] input, form[role=search] select");
      if (field) { event.preventDefault(); field.focus(); }
    } else if (event.key === ".") {
      const pause = document.querySelector("a.pause");
      if (pause) pause.click();
    }
  });
})();
