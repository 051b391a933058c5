// The board, live: sorts, searches, and follows new pongs. The server renders all that is shown;
// this asks for the same page again and puts what has changed into this one, row by row.
const find = (id, page = document) => page.getElementById(id);
const live = find("live");
const form = find("look");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// The heading and its sentence: which board of which room. As they came: a browser may translate them.
const headingOf = (page) => page.querySelector(".lead > div")?.textContent;
const heading = headingOf(document);
// What belongs to the answer, beside the table.
const AROUND = ["notice", "summary", "choices", "below", "markdown", "section", "generated", "rooms", "languages"];

const SOON_MS = 1000;
const PAUSE_MS = 5000; // however many pongs come
const MAX_SHARE = 0.05; // of the time, for refreshing: thousands of rows take seconds
const SOME_ROWS = 200; // at once, so that nobody who scrolls is held up
const MAX_AGE_MS = 60_000; // without pongs the page asks whether its data is old, or new again
// Sorted or searched, thousands of rows are reloaded faster than compared.
const isMany = document.querySelectorAll("#board tbody tr").length > 1000;

let updatedAt = performance.now();
let askedAt = updatedAt;
let asking = null;
let pauseMs = PAUSE_MS;

async function refresh() {
  asking?.abort();
  asking = new AbortController();
  askedAt = performance.now();
  try {
    const answer = await fetch(location.href, { signal: asking.signal });
    if (!answer.ok) return;
    await show(await answer.text());
    document.body.getBoundingClientRect(); // waits until it is laid out
    updatedAt = performance.now();
    pauseMs = Math.max(PAUSE_MS, (updatedAt - askedAt) / MAX_SHARE);
    tick();
  } catch (error) {
    if (error.name !== "AbortError") console.info("no new board:", error.message);
  }
}

async function show(text) {
  const table = find("board");
  const [above, rows = "", below = ""] = text.split(/<\/?tbody>/);
  const page = new DOMParser().parseFromString(table ? above + below : text, "text/html");
  // From waiting to a board, or to another one: too much is different.
  if (!find("look", page) !== !form || headingOf(page) !== heading) return location.reload();
  if (live && find("live", page)) live.hidden = find("live", page).hidden;
  for (const id of AROUND) replace(find(id), find(id, page));
  if (form) find("said").dataset.found = find("said", page).dataset.found;
  replace(form?.querySelector("button"), find("look", page)?.querySelector("button"));
  if (table && rows) {
    replace(table.tHead, find("board", page).tHead);
    await showRows(table.tBodies[0], rows);
  } else {
    replace(find("rows"), find("rows", page));
  }
}

function replace(old, fresh) {
  if (!old || !fresh) return;
  const focused = old.contains(document.activeElement) && document.activeElement.id;
  update(old, fresh);
  if (focused && document.activeElement.id !== focused) find(focused)?.focus({ preventScroll: true });
}

// Takes over only what differs: elements stay, with the focus and the click that they may have.
// One that has another id is another element.
function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
  if (!old.attributes) {
    old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  before.forEach((node, place) => (place < after.length ? update(node, after[place]) : node.remove()));
  old.append(...after.slice(before.length));
}

const nameOf = (row) => row.querySelector("bdi").textContent;

// Rows are compared as the texts they came as, and parsed some at a time: thousands take seconds.
const texts = new WeakMap();
const nameIn = (text) => text.match(/<bdi>(.*?)<\/bdi>/)[1].replaceAll("<wbr>", "");

async function showRows(body, html) {
  const { signal } = asking;
  const known = new Map([...body.rows].map((row) => [nameOf(row), row]));
  const tops = isMany || calm.matches ? null : new Map([...body.rows].map((row) => [row, row.getBoundingClientRect().top]));
  const focused = document.activeElement.closest("#board tbody tr");
  const changed = new Set();
  const all = html.split("</tr>").slice(0, -1).map((text) => [nameIn(text), text]);
  const fresh = all.filter(([name, text]) => texts.get(known.get(name)) !== text);
  while (fresh.length) {
    const some = fresh.splice(0, SOME_ROWS);
    parse(some).forEach((row, number) => {
      const [name, text] = some[number];
      const old = known.get(name) ?? row;
      if (!old.isEqualNode(row)) {
        update(old, row);
        changed.add(old);
      }
      known.set(name, old);
      texts.set(old, text);
    });
    if (fresh.length) await new Promise((next) => setTimeout(next));
    if (signal.aborted) return;
  }
  const rows = all.map(([name]) => known.get(name));
  order(body, rows);
  if (focused?.isConnected) focused.querySelector("a")?.focus({ preventScroll: true });
  if (tops) rows.forEach((row) => move(row, tops.get(row), changed.has(row)));
}

function parse(rows) {
  const holder = document.createElement("template");
  holder.innerHTML = `<table>${rows.map(([, text]) => text).join("")}`;
  return [...holder.content.querySelectorAll("tr")];
}

// Moves only what is out of its place: what is inserted has to be laid out again.
function order(body, rows) {
  let place = body.firstElementChild;
  for (const row of rows) {
    if (row === place) place = row.nextElementSibling;
    else body.insertBefore(row, place);
  }
  while (body.rows.length > rows.length) body.lastElementChild.remove();
}

// From where it was to where it is; what is new or changed lights up for a moment.
function move(row, before, isChanged) {
  const { top } = row.getBoundingClientRect();
  if (top > innerHeight && !(before < innerHeight)) return;
  if (before !== undefined && before !== top) {
    const steps = [{ transform: `translateY(${before - top}px)` }, { transform: "none" }];
    row.animate(steps, { duration: 400, easing: "ease-out" });
  }
  if (isChanged || before === undefined) {
    const light = getComputedStyle(document.documentElement).getPropertyValue("--band");
    row.animate({ backgroundColor: [light, "transparent"] }, { duration: 1500 });
  }
}

// Search and sort: the choice is in the address, so that it can be shared and outlives a refresh.
async function look(submitter) {
  const chosen = [...new FormData(form, submitter)].filter(([name, value]) => name !== "q" || value);
  const query = new URLSearchParams(chosen).toString();
  history.replaceState(null, "", form.getAttribute("action") + (query && `?${query}`));
  await refresh();
}

let typing = null;
function type() {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    await look(form.querySelector("button"));
    find("said").textContent = find("said").dataset.found;
  }, 200);
}

if (form && !isMany) {
  form.addEventListener("input", type);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    look(event.submitter);
  });
}

// Following
let heard = 0;
let due = null;
let isConnected = null;

function soon() {
  if (due !== null || document.hidden) return;
  const wait = Math.max(SOON_MS, updatedAt + pauseMs - performance.now());
  due = setTimeout(() => { due = null; refresh(); }, wait);
}

function tick() {
  if (isConnected && performance.now() - askedAt > MAX_AGE_MS) soon();
  const ago = live?.querySelector(".ago");
  if (!ago || isConnected === null) return;
  const { live: on, lost, updated, heard: pongs } = live.dataset;
  const seconds = Math.round((performance.now() - updatedAt) / 1000);
  live.classList.toggle("on", isConnected);
  live.querySelector(".state").textContent = isConnected ? on : lost;
  ago.textContent = `· ${updated.replace("{ago}", say(seconds))}`;
  live.querySelector(".heard").textContent = heard ? ` · ${pongs.replace("{count}", heard)}` : "";
}

const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
function say(seconds) {
  if (seconds < 60) return relative.format(-seconds, "second");
  return relative.format(-Math.floor(seconds / 60), "minute");
}

function follow() {
  const source = new EventSource(
    `${live.dataset.address}?room=${encodeURIComponent(live.dataset.room)}`,
  );
  const connect = (is) => {
    // Something may have come between this page and the connection, or while it was cut off.
    if (is && !isConnected) soon();
    isConnected = is;
    tick();
  };
  source.addEventListener("open", () => connect(true));
  source.addEventListener("pong", () => { heard += 1; tick(); soon(); });
  source.addEventListener("rank", soon);
  source.addEventListener("reset", soon);
  source.addEventListener("error", () => {
    connect(false);
    // Cut off it comes back by itself; refused, as by a proxy whose server is away, it does not.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 10_000);
  });
}

if (live) {
  follow();
  setInterval(tick, 1000);
  // Nobody looked, nothing was asked; now somebody does.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    if (isMany) soon();
    else refresh();
  });
}
