// Every page: times in the reader's own time zone, the one-tap way to a driver's own recording, and
// the browser's key where a form wants it. Nothing here is needed to read a page.

import { fillOnSubmit, prove, publicKey } from "./binding.js";

const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

/** Shows each `<time data-local>` inside `root` in local time; the UTC time stays as its title. */
export function localise(root = document) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    const [day, hours] = [time.querySelector(".date"), time.querySelector(".clock")];
    if (Number.isNaN(at.getTime()) || !day || !hours) continue;
    time.title = `${day.textContent} ${hours.textContent}`;
    day.textContent = date.format(at);
    hours.textContent = clock.format(at);
    time.removeAttribute("data-local");
  }
}

/** Key of the note that says: this tap was on 'Watch'. A link from elsewhere leaves no such note. */
export const WATCH_KEY = "temoin-watch";

localise();

for (const field of document.querySelectorAll("form input[name=key]")) {
  fillOnSubmit(field, publicKey);
}
for (const field of document.querySelectorAll("form input[name=proof]")) {
  fillOnSubmit(field, () => prove("POST", new URL(field.form.action).pathname));
}

for (const link of document.querySelectorAll("a[data-watch]")) {
  link.addEventListener("click", () => {
    try {
      sessionStorage.setItem(WATCH_KEY, link.dataset.watch);
    } catch {
      // Storage is off: the event's page then asks for one more tap.
    }
  });
}
