// A page works without this: it only shows what has changed without being asked again, and
// sends the slider's form when the slider is let go.
"use strict";

const slider = document.getElementById("slider");
if (slider) slider.addEventListener("change", () => slider.form.requestSubmit());

// The handles of a comparison are sent when one is let go; by the keyboard they are moved as far
// as one likes, and sent by Enter or by the button.
for (const handle of document.querySelectorAll(".track input")) {
  handle.addEventListener("pointerup", () => handle.form.requestSubmit());
}

const main = document.querySelector("main[data-stream]");
if (main && window.EventSource) follow(main);

// follow loads the page again when the stream tells of a change, and every 30 s, for on a quiet
// log time passes too: at most once in 2 s, and not while the tab is hidden.
function follow(main) {
  const pause = 2000;
  setInterval(() => { due = true; turn(); }, 15 * pause);
  const feed = document.getElementById("feed");
  const say = (text) => { if (feed.textContent !== text) feed.textContent = text; };
  let due = false, waiting = false, lost = false;
  let heard = 0; // the last event

  // Only a tab that is looked at listens. A browser has six connections to a server for all of
  // its tabs, those to which one can go back too: six streams would leave none to load a page by.
  let stream = null;
  attend();
  document.addEventListener("visibilitychange", attend);

  function attend() {
    if (!document.hidden) {
      if (!stream) listen();
      return;
    }
    if (stream) stream.close();
    stream = null;
    lost = true;
  }

  function listen() {
    const address = new URL(main.dataset.stream, location.href);
    if (heard > 0) address.searchParams.set("after", heard);
    const mine = stream = new EventSource(address);
    mine.onopen = () => {
      say("");
      if (lost) { lost = false; due = true; turn(); } // the log has gone on, or is another one
    };
    mine.onmessage = (event) => { heard = Number(event.lastEventId); due = true; turn(); };
    mine.onerror = () => {
      lost = true;
      say("The connection is lost; this may be old. It is tried again.");
      if (mine.readyState === EventSource.CLOSED) setTimeout(() => { // the browser does not try again
        if (stream === mine) { stream = null; attend(); }
      }, 5 * pause);
    };
  }

  async function turn() {
    if (!due || waiting || document.hidden) return;
    due = false;
    waiting = true;
    try {
      say(await refresh());
    } catch {
      due = true;
      say("The page cannot be loaded; this may be old. It is tried again.");
    }
    setTimeout(() => { waiting = false; turn(); }, pause);
  }

  // refresh shows the page as it is now, and gives what the status line says of it.
  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status === 401) { location.reload(); return "You are signed out."; } // and so to the sign-in
    if (answer.status === 404) return "What this page shows is not there any more; this is old.";
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const shown = Number(page.querySelector("main").dataset.sequence);
    if (shown < heard) due = true; // others were shown this a moment ago, and it is theirs
    for (const part of ["content", "moment", "steps"]) replace(page, `[data-live=${part}]`);
    const fresh = page.getElementById("slider");
    if (!slider || !fresh) return "";
    slider.max = fresh.max;
    if (document.activeElement !== slider) slider.value = fresh.value; // else the person is moving it
    return "";
  }

  // replace takes a part over from the new page, and keeps the focus where it was, and how far
  // a table is scrolled.
  function replace(page, part) {
    const old = document.querySelector(part), fresh = page.querySelector(part);
    if (!old || !fresh || old.isEqualNode(fresh)) return;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    if (focused && focused.matches("input, select, textarea")) return; // the person is filling it in
    const alike = (root) => Array.from(root.querySelectorAll(focused.tagName)).filter((e) => named(e) === named(focused));
    const place = focused ? alike(old).indexOf(focused) : -1;
    const wide = (root) => Array.from(root.querySelectorAll(".scroll, pre"));
    const scrolled = wide(old).map((e) => e.scrollLeft);
    old.replaceWith(document.adoptNode(fresh));
    wide(fresh).forEach((e, i) => { if (scrolled[i]) e.scrollLeft = scrolled[i]; });
    if (place >= 0) {
      const again = alike(fresh)[place] || (focused.rel && fresh.querySelector(`a[rel=${focused.rel}]`));
      if (again) again.focus({ preventScroll: true });
    }
  }

  // named is what a link, a button or a table is known by in another version of the page.
  function named(e) {
    return e.href || e.getAttribute("aria-label") || e.textContent;
  }
}
