// Keeps the page true without loading it anew, and lets the strips be pointed at and walked.
const PACE = 10000, LONGEST = 60000, PATIENCE = 10000; // milliseconds
const ROOTS = ["answer", "routines", "about"];
const silence = document.getElementById("silence"), news = document.getElementById("news");
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
let timer = 0, asking = null, pause = PACE, silentSince = null;

document.documentElement.classList.add("js");

// --- What is replaced, and what stays -------------------------------------------------------------------------------

/** Make an element like a fresh one, touching only what differs: focus, selection and scrolling stay where they are. */
function become(old, fresh) {
  // Whether something is unfolded is the reader's business.
  const ours = (name) => name === "open" && old.localName === "details";
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !ours(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && !ours(name)) old.setAttribute(name, value);
  if (!old.hasAttribute("data-own")) fill(old, fresh);
}

/** Make an element's children like a fresh one's; those with an id are told by it, the others by their place. */
function fill(old, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  for (const child of [...old.children]) if (child.id && !wanted.has(child.id)) child.remove();
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const alike = at && !at.id && !next.id && at.nodeType === next.nodeType && at.nodeName === next.nodeName;
    const match = next.id ? named.get(next.id) : alike ? at : null;
    if (!match) { old.insertBefore(document.adoptNode(next), at); continue; }
    if (match === at) at = at.nextSibling; else old.insertBefore(match, at);
    if (match.nodeType === Node.ELEMENT_NODE) become(match, next);
    else if (match.data !== next.data) match.data = next.data;
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

/** Give a fresh document what the reader has done: the times of his own zone, and where he is on each strip. */
function dress(fresh) {
  for (const time of fresh.querySelectorAll("time[datetime]")) {
    time.title = local.format(new Date(time.dateTime));
  }
  for (const strip of fresh.querySelectorAll(".strip")) {
    const before = document.getElementById(strip.getAttribute("aria-labelledby"))?.parentElement.querySelector(".strip");
    if (!before || fresh === document) continue;
    const current = before.querySelector('a[tabindex="0"]');
    const walked = current && (current === document.activeElement || current.parentElement !== before.lastElementChild);
    const same = walked && fresh.getElementById(current.parentElement.id)?.firstElementChild;
    if (same) stand(strip, same);
    const shown = before.querySelector("a[aria-current]");
    if (shown) fresh.getElementById(shown.parentElement.id)?.firstElementChild.setAttribute("aria-current", "true");
  }
}

/** Tell what has changed, and nothing else. */
function announce(fresh) {
  const changed = [...fresh.querySelectorAll("[data-news]")].filter((section) => {
    const before = document.getElementById(section.id);
    return before && before.dataset.news !== section.dataset.news;
  });
  if (changed.length) news.textContent = changed.map((section) => section.dataset.news).join(" ");
}

function replace(fresh) {
  const focused = document.activeElement?.closest(".strip");
  announce(fresh);
  dress(fresh);
  if (document.title !== fresh.title) document.title = fresh.title;
  const icon = document.querySelector("link[rel=icon]"), picture = fresh.querySelector("link[rel=icon]");
  if (icon.getAttribute("href") !== picture.getAttribute("href")) icon.setAttribute("href", picture.getAttribute("href"));
  for (const id of ROOTS) become(document.getElementById(id), fresh.getElementById(id));
  // An attempt that was walked to may have become too old.
  if (focused?.isConnected && !focused.contains(document.activeElement)) {
    focused.querySelector('a[tabindex="0"]')?.focus({ preventScroll: true });
  }
  for (const shown of document.querySelectorAll(".strip a[aria-current]")) show(shown);
}

// --- Asking khealth -------------------------------------------------------------------------------------------------

function ask() {
  stop();
  // It makes a document out of the answer without any markup being assigned, so no trusted type has to be allowed.
  const request = asking = new XMLHttpRequest();
  request.open("GET", location.href.split("#")[0]);
  request.responseType = "document";
  request.timeout = PATIENCE;
  request.onload = () => {
    const fresh = request.response;
    const whole = request.status === 200 && fresh && ROOTS.every((id) => fresh.getElementById(id));
    if (whole) heard(fresh); else unheard(request.status === 200 ? "another page" : `code ${request.status}`);
  };
  request.onerror = request.ontimeout = () => unheard("");
  request.onloadend = () => { if (!asking) document.documentElement.removeAttribute("data-asking"); };
  document.documentElement.setAttribute("data-asking", "");
  request.send();
}

function heard(fresh) {
  asking = null;
  if (silentSince) { silence.textContent = ""; news.textContent = "khealth answers again."; silentSince = null; }
  pause = PACE;
  replace(fresh);
  timer = setTimeout(ask, pause);
}

function unheard(what) {
  asking = null;
  if (!silentSince) {
    silentSince = new Date();
    const since = `since ${silentSince.toISOString().slice(11, 19)} UTC`;
    silence.textContent = `khealth does not answer ${since}${what ? ` (${what})` : ""}: what stands below is from before.`;
    document.title = "khealth does not answer";
  }
  timer = setTimeout(ask, pause);
  pause = Math.min(2 * pause, LONGEST);
}

function stop() {
  clearTimeout(timer);
  const before = asking;
  asking = null;
  before?.abort();
}

function attend() {
  if (document.hidden) stop(); else ask();
}

document.addEventListener("visibilitychange", attend);
addEventListener("online", () => { if (!document.hidden) ask(); });
if (!document.hidden) timer = setTimeout(ask, PACE);

// --- The strips -----------------------------------------------------------------------------------------------------

/** Let one attempt of a strip be where the tab key leads to. */
function stand(strip, link) {
  for (const other of strip.querySelectorAll('a[tabindex="0"]')) if (other !== link) other.tabIndex = -1;
  link.tabIndex = 0;
}

const paneOf = (link) => link.closest("section").querySelector(".pane");
const attempt = (target) => target instanceof Element ? target.closest(".strip a") : null;

/** Show an attempt's row in the pane below its strip. */
function show(link) {
  const row = document.getElementById(link.hash.slice(1));
  if (!row) return;
  for (const other of link.closest(".strip").querySelectorAll("a[aria-current]")) if (other !== link) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  const heads = row.closest("table").tHead.rows[0].cells, list = document.createElement("dl");
  for (const [index, cell] of [...row.cells].entries()) {
    if (!cell.textContent) continue;
    const pair = document.createElement("div"), word = document.createElement("dt"), value = document.createElement("dd");
    word.textContent = heads[index].textContent;
    value.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
    for (const copy of value.querySelectorAll("[id]")) copy.removeAttribute("id");
    if (["note", "evidence"].includes(word.textContent)) pair.className = "whole";
    pair.append(word, value);
    list.append(pair);
  }
  const holder = document.createElement("div");
  holder.append(list);
  fill(paneOf(link), holder);
}

function walk(event) {
  const link = attempt(event.target);
  if (!link || event.ctrlKey || event.altKey || event.metaKey) return;
  const all = [...link.closest(".strip").querySelectorAll("a")], at = all.indexOf(link);
  const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  all[Math.max(0, Math.min(all.length - 1, to))].focus();
}

function leave(event) {
  const pane = event.target instanceof Element && event.key === "Escape" ? event.target.closest(".pane") : null;
  if (!pane) return;
  delete pane.dataset.open;
  pane.closest("section").querySelector(".strip a[aria-current]")?.focus();
}

document.addEventListener("keydown", walk);
document.addEventListener("keydown", leave);
document.addEventListener("focusin", ({ target }) => {
  const link = attempt(target);
  if (!link) return;
  delete paneOf(link).dataset.open;
  stand(link.closest(".strip"), link);
  show(link);
});
document.addEventListener("pointerover", ({ target }) => {
  const link = attempt(target);
  // One that was opened stays until another one is, or it is left.
  if (link && !("open" in paneOf(link).dataset)) show(link);
});
document.addEventListener("click", (event) => {
  const link = attempt(event.target);
  if (!link) return;
  event.preventDefault();
  stand(link.closest(".strip"), link);
  show(link);
  paneOf(link).dataset.open = "";
  paneOf(link).focus({ preventScroll: true });
});

dress(document);
