// Updates the page without a reload, and makes the strips of attempts interactive.
const INTERVAL = 10000, MAX_INTERVAL = 60000, TIMEOUT = 10000; // milliseconds
const ROOTS = ["answer", "routines", "about"];
const silence = document.getElementById("silence"), news = document.getElementById("news");
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
let timer = 0, pending = null, interval = INTERVAL, unansweredSince = null;

document.documentElement.classList.add("js");

// --- Updates in place -----------------------------------------------------------------------------------------------

/** Update an element to match a fresh one. Only differences change, so focus, selection, and scroll position stay. */
function updateElement(old, fresh) {
  // The user opens and closes details elements.
  const userOwned = (name) => name === "open" && old.localName === "details";
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !userOwned(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && !userOwned(name)) old.setAttribute(name, value);
  if (!old.hasAttribute("data-own")) updateChildren(old, fresh);
}

/** Update the children of an element to match a fresh one: children with an id by id, others by position. */
function updateChildren(old, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  for (const child of [...old.children]) if (child.id && !wanted.has(child.id)) child.remove();
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const alike = at && !at.id && !next.id && at.nodeType === next.nodeType && at.nodeName === next.nodeName;
    const match = next.id ? named.get(next.id) : alike ? at : null;
    if (!match) { old.insertBefore(document.adoptNode(next), at); continue; }
    if (match === at) at = at.nextSibling; else old.insertBefore(match, at);
    if (match.nodeType === Node.ELEMENT_NODE) updateElement(match, next);
    else if (match.data !== next.data) match.data = next.data;
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

/** Add the local times to a fresh document, and the selected attempt of each strip. */
function prepare(fresh) {
  for (const time of fresh.querySelectorAll("time[datetime]")) {
    time.title = local.format(new Date(time.dateTime));
  }
  for (const strip of fresh.querySelectorAll(".strip")) {
    const before = document.getElementById(strip.getAttribute("aria-labelledby"))?.parentElement.querySelector(".strip");
    if (!before || fresh === document) continue;
    const current = before.querySelector('a[tabindex="0"]');
    const moved = current && (current === document.activeElement || current.parentElement !== before.lastElementChild);
    const same = moved && fresh.getElementById(current.parentElement.id)?.firstElementChild;
    if (same) setTabStop(strip, same);
    const shown = before.querySelector("a[aria-current]");
    if (shown) fresh.getElementById(shown.parentElement.id)?.firstElementChild.setAttribute("aria-current", "true");
  }
}

/** Announce changes to screen readers. */
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
  prepare(fresh);
  if (document.title !== fresh.title) document.title = fresh.title;
  const icon = document.querySelector("link[rel=icon]"), picture = fresh.querySelector("link[rel=icon]");
  if (icon.getAttribute("href") !== picture.getAttribute("href")) icon.setAttribute("href", picture.getAttribute("href"));
  for (const id of ROOTS) updateElement(document.getElementById(id), fresh.getElementById(id));
  // The focused attempt may have expired.
  if (focused?.isConnected && !focused.contains(document.activeElement)) {
    focused.querySelector('a[tabindex="0"]')?.focus({ preventScroll: true });
  }
  for (const shown of document.querySelectorAll(".strip a[aria-current]")) select(shown);
}

// --- Requests -------------------------------------------------------------------------------------------------------

function poll() {
  stop();
  // The response is parsed without assigning markup, so the page needs no trusted type.
  const request = pending = new XMLHttpRequest();
  request.open("GET", location.href.split("#")[0]);
  request.responseType = "document";
  request.timeout = TIMEOUT;
  request.onload = () => {
    const fresh = request.response;
    const whole = request.status === 200 && fresh && ROOTS.every((id) => fresh.getElementById(id));
    if (whole) onAnswer(fresh); else onFailure(request.status === 200 ? "unexpected content" : `HTTP ${request.status}`);
  };
  request.onerror = request.ontimeout = () => onFailure("");
  request.onloadend = () => { if (!pending) document.documentElement.removeAttribute("data-asking"); };
  document.documentElement.setAttribute("data-asking", "");
  request.send();
}

function onAnswer(fresh) {
  pending = null;
  if (unansweredSince) { silence.textContent = ""; news.textContent = "khealth answers again."; unansweredSince = null; }
  interval = INTERVAL;
  replace(fresh);
  timer = setTimeout(poll, interval);
}

function onFailure(what) {
  pending = null;
  if (!unansweredSince) {
    unansweredSince = new Date();
    const since = `since ${unansweredSince.toISOString().slice(11, 19)} UTC`;
    silence.textContent = `khealth has not answered ${since}${what ? ` (${what})` : ""}. The status below is out of date.`;
    document.title = "khealth does not answer";
  }
  timer = setTimeout(poll, interval);
  interval = Math.min(2 * interval, MAX_INTERVAL);
}

function stop() {
  clearTimeout(timer);
  const before = pending;
  pending = null;
  before?.abort();
}

function onVisibilityChange() {
  if (document.hidden) stop(); else poll();
}

document.addEventListener("visibilitychange", onVisibilityChange);
addEventListener("online", () => { if (!document.hidden) poll(); });
if (!document.hidden) timer = setTimeout(poll, INTERVAL);

// --- Strips ---------------------------------------------------------------------------------------------------------

/** Make one attempt of a strip its tab stop. */
function setTabStop(strip, link) {
  for (const other of strip.querySelectorAll('a[tabindex="0"]')) if (other !== link) other.tabIndex = -1;
  link.tabIndex = 0;
}

const paneOf = (link) => link.closest("section").querySelector(".pane");
const attempt = (target) => target instanceof Element ? target.closest(".strip a") : null;

/** Show the row of an attempt in the pane below its strip. */
function select(link) {
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
  updateChildren(paneOf(link), holder);
}

function moveFocus(event) {
  const link = attempt(event.target);
  if (!link || event.ctrlKey || event.altKey || event.metaKey) return;
  const all = [...link.closest(".strip").querySelectorAll("a")], at = all.indexOf(link);
  const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  all[Math.max(0, Math.min(all.length - 1, to))].focus();
}

function closePane(event) {
  const pane = event.target instanceof Element && event.key === "Escape" ? event.target.closest(".pane") : null;
  if (!pane) return;
  delete pane.dataset.open;
  pane.closest("section").querySelector(".strip a[aria-current]")?.focus();
}

document.addEventListener("keydown", moveFocus);
document.addEventListener("keydown", closePane);
document.addEventListener("focusin", ({ target }) => {
  const link = attempt(target);
  if (!link) return;
  delete paneOf(link).dataset.open;
  setTabStop(link.closest(".strip"), link);
  select(link);
});
document.addEventListener("pointerover", ({ target }) => {
  const link = attempt(target);
  // An opened attempt stays until it is closed, or another one is opened.
  if (link && !("open" in paneOf(link).dataset)) select(link);
});
document.addEventListener("click", (event) => {
  const link = attempt(event.target);
  if (!link) return;
  event.preventDefault();
  setTabStop(link.closest(".strip"), link);
  select(link);
  paneOf(link).dataset.open = "";
  paneOf(link).focus({ preventScroll: true });
});

/** Unfold what holds the target of a link, also in browsers that do not. */
function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  for (let at = target?.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
}

addEventListener("hashchange", reveal);
prepare(document);
reveal();
