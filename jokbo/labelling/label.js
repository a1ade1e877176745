// Keys, and the next item before it is asked for. Everything works without this file too, by whole pages.
"use strict";

let ahead = null; // {item, page}: what comes after the item on screen
let loading = null; // ends when that is here, or is known not to come
let busy = false;

const parsed = (html) => new DOMParser().parseFromString(html, "text/html");
const typing = (element) => element.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");

async function loadAhead() {
  const form = document.querySelector("#vote[data-ahead]");
  if (!form) return;
  const item = form.dataset.item;
  try {
    const response = await fetch(form.dataset.ahead);
    if (response.status !== 200) return;
    const page = parsed(await response.text());
    const next = page.querySelector("#vote");
    if (next && document.querySelector("#vote")?.dataset.item === item) ahead = { item: next.dataset.item, page };
  } catch { /* without it the next item comes with the answer */ }
}

function show(page, address) {
  ahead = null;
  document.title = page.title;
  document.documentElement.lang = page.documentElement.lang;
  document.body.replaceWith(document.adoptNode(page.body));
  if (address) history.replaceState(null, "", address);
  window.scrollTo(0, 0);
  document.querySelector("main").focus({ preventScroll: true });
  loading = loadAhead();
}

function tell(message) {
  const place = document.querySelector("#problem");
  place.textContent = message;
  place.hidden = false;
  place.scrollIntoView({ block: "center" });
}

async function send(form, button) {
  if (busy) return;
  busy = true;
  const buttons = document.querySelectorAll("button");
  const body = new URLSearchParams(new FormData(form, button));
  buttons.forEach((each) => { each.disabled = true; });
  try {
    if (form.id === "vote") await loading; // it is under way: sooner here than asked for after the answer
    const next = ahead;
    const headers = next && form.id === "vote" ? { "X-Ahead": next.item } : {};
    const response = await fetch(form.action, { method: "POST", body, headers });
    if (response.status === 204 && next) return show(next.page, "/");
    const page = parsed(await response.text());
    if (response.status < 500) return show(page, response.redirected ? response.url : null);
    tell(page.querySelector("[role=alert]:not([hidden])")?.textContent || document.body.dataset.unreachable);
  } catch {
    tell(document.body.dataset.unreachable);
  } finally {
    buttons.forEach((each) => { each.disabled = false; });
    busy = false;
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-swap]")) return;
  event.preventDefault();
  send(event.target, event.submitter);
});

function rank(form, digit) {
  const card = document.activeElement.closest(".answer");
  const option = card?.querySelector(`input[value="${digit}"]`);
  if (!option) return false;
  option.checked = true;
  const following = form.querySelector(`[data-at="${Number(card.dataset.at) + 1}"] .text`);
  (following || form.querySelector("button.main")).focus();
  return true;
}

function open(selector, focused) {
  const part = document.querySelector(selector);
  if (!part) return;
  part.open = focused ? true : !part.open;
  (focused ? part.querySelector(focused) : part.querySelector("summary")).focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  if (event.key === "Escape" && typing(document.activeElement)) return document.querySelector("main").focus();
  if (typing(document.activeElement)) return;
  const form = document.querySelector("#vote");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = {
    Backspace: () => document.querySelector("#undo")?.requestSubmit(),
    i: () => open("#instructions"),
    n: () => open("#more", "[name=note]"),
    b: () => open("#more", "[name=better]"),
    s: () => open("#more", "[name=reason]"),
    f: () => open("#more", "[name=harmful_0]"),
    Enter: () => form?.requestSubmit(form.querySelector("button.main")),
    m: () => document.querySelector("#go-mine")?.click(),
  };
  if (key === "Enter" && (!form || !("ranking" in form.dataset) || document.activeElement.matches("button, a, summary"))) return;
  const button = /^[0-9]$/.test(key) && form?.querySelector(`[data-key="${key}"]`);
  if (form && "ranking" in form.dataset && /^[1-9]$/.test(key) && rank(form, key)) event.preventDefault();
  else if (button) { event.preventDefault(); if (!busy) form.requestSubmit(button); }
  else if (act[key]) { event.preventDefault(); if (!busy) act[key](); }
});

loading = loadAhead();
