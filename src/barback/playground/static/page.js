// The page of the playground: people who talk, and the turns that come of it.

const $ = (selector, within = document) => within.querySelector(selector);
const columns = new Map(); // by person and conversation
let world = {};
let opened = null; // the session in the dialog
let waiting = null; // news, while all is fetched anew
let lastLine = 0; // numbers of what is shown
let lastTurn = 0;

// The server.

const ask = (path, body) => body === undefined ? fetched(path, {}) : post(path, JSON.stringify(body));

const post = (path, body) => fetched(path, {method: "POST", headers: {"content-type": "application/json"}, body});

async function fetched(path, options) {
  let told;
  try {
    const answer = await fetch(path, options);
    told = await answer.json();
  } catch {
    told = {error: "The playground does not answer. Has it been stopped?"};
  }
  if (told.error) throw new Error(told.error);
  return told;
}

function say(text) { $("#status").textContent = text; }

async function attempt(work) {
  try { return await work(); } catch (error) { say(error.message); return null; }
}

function listen() {
  const news = new EventSource("api/news");
  news.onopen = () => attempt(load);
  news.onerror = () => say("The playground is not there. This page waits for it.");
  news.onmessage = (message) => hear(JSON.parse(message.data));
}

function hear(piece) {
  if (waiting) { waiting.push(piece); return; }
  if (piece.type === "line") showLine(piece.line);
  else if (piece.type === "turn") showTurn(piece.turn);
  else if (piece.type === "clock") showClock(piece);
  else if (piece.type === "trouble") about(piece);
  else if (piece.type === "busy") { world.busy[piece.session] = piece.turns; showBusy(); }
  else if (piece.type === "cleared") empty();
  else if (piece.type === "settled") say(piece.outcomes.map((outcome) => words[outcome] ?? outcome).join(", "));
  else if (piece.type === "loaded") {
    about(piece);
    say("The code was loaded anew; sessions have stayed.");
    renewSessions();
  }
}

async function load() {
  waiting ??= []; // what happens meanwhile is in what is fetched, or comes after it
  try {
    const told = await ask("api/world");
    empty();
    about(told);
    say("");
    told.lines.forEach(showLine);
    told.turns.forEach(showTurn);
    renewSessions();
  } finally {
    const later = waiting ?? [];
    waiting = null;
    later.forEach(hear);
  }
}

function about(told) {
  world = {...world, ...told};
  $("#bot").textContent = world.name;
  document.title = `${world.name}, playground`;
  $("#bot").title = world.store ? `sessions rest in the ${world.store} store` : "";
  showTrouble();
  showClock(world);
  showBusy();
}

function showTrouble() {
  const {trouble, running} = world;
  $("#trouble").hidden = !trouble;
  $("#trouble p").textContent = running
    ? "The bot goes on as it was before. Mend the code, and it is loaded anew."
    : "No bot is running. Mend the code, and it is loaded anew.";
  $("#trouble pre").textContent = trouble ?? "";
}

function empty() {
  lastLine = lastTurn = 0;
  $("#list").replaceChildren();
  $("#no-turns").hidden = false;
  for (const column of columns.values()) $(".log", column.element).replaceChildren();
}

// The clock.

function showClock(told) {
  world.ahead = told.ahead;
  const offset = told.now - Date.now();
  world.offset = offset;
  tick();
}

function tick() {
  if (world.offset === undefined) return;
  const now = new Date(Date.now() + world.offset);
  const time = $("#now");
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
}

const move = (minutes) => attempt(async () => {
  await ask("api/clock", {minutes});
  say(`The bot's clock went ${minutes} minutes forward.`);
});

// People.

const keyOf = (person, conversation) => JSON.stringify([person, conversation ?? null]);

function people() {
  try {
    const kept = JSON.parse(localStorage.getItem("barback people"));
    if (Array.isArray(kept) && kept.length) return kept;
  } catch { /* whatever is there is none of ours */ }
  return [{person: "ann", conversation: null}, {person: "bob", conversation: null}];
}

function keepPeople() {
  const kept = [...columns.values()].map(({person, conversation}) => ({person, conversation}));
  localStorage.setItem("barback people", JSON.stringify(kept));
}

function addPerson(person, conversation) {
  const key = keyOf(person, conversation);
  if (columns.has(key)) return columns.get(key);
  const element = $("#column").content.cloneNode(true).firstElementChild;
  const name = conversation ? `${person} in ${conversation}` : person;
  const column = {person, conversation, element, session: null};
  columns.set(key, column);
  element.setAttribute("aria-label", name);
  $("h3", element).textContent = name;
  $(".log", element).setAttribute("aria-label", `What ${name} and the bot say`);
  const input = $("input", element);
  input.setAttribute("aria-label", `Say as ${name}`);
  input.placeholder = `Say as ${name}`;
  $(".open", element).setAttribute("aria-label", `Session of ${name}`);
  $(".remove", element).setAttribute("aria-label", `Remove ${name} from the page`);
  $(".remove", element).onclick = () => { columns.delete(key); element.remove(); keepPeople(); $("#add input").focus(); };
  $(".open", element).onclick = () => column.session && openSession(column.session);
  $("form", element).onsubmit = (event) => { event.preventDefault(); send(column, input, "say"); };
  for (const button of element.querySelectorAll("[data-way]")) {
    button.onclick = () => send(column, input, button.dataset.way);
  }
  $("#columns").append(element);
  keepPeople();
  renewSession(column);
  return column;
}

async function renewSession(column) {
  const query = new URLSearchParams({person: column.person});
  if (column.conversation) query.set("conversation", column.conversation);
  try { column.session = (await ask(`api/session-of?${query}`)).id; } catch { column.session = null; }
  showBusy();
}

const renewSessions = () => columns.forEach(renewSession);

function send(column, input, way) {
  const text = input.value;
  if (!text) { input.focus(); return; }
  const {person, conversation} = column;
  const message = way === "press" ? {person, conversation, payload: text} : {person, conversation, text};
  input.value = "";
  input.focus();
  attempt(async () => {
    const messages = way === "two" ? [message, message] : [message];
    await ask("api/say", {messages, copies: way === "twice" ? 2 : 1});
  });
}

function showBusy() {
  for (const {element, session} of columns.values()) $(".busy", element).hidden = !world.busy?.[session];
}

function showLine(line) {
  if (line.number <= lastLine) return;
  lastLine = line.number;
  for (const column of columns.values()) {
    const same = line.conversation
      ? line.conversation === column.conversation
      : line.user === null ? line.session === column.session
        : line.user === column.person && !column.conversation;
    if (!same) continue;
    const item = document.createElement("p");
    item.className = line.by;
    item.dir = "auto";
    item.textContent = line.payload ?? line.text ?? "";
    if (line.payload !== null) {
      item.classList.add("payload");
      note(item, "pressed a button");
    }
    if (line.conversation) note(item, line.by === "bot" ? `to ${line.user ?? "all"}` : line.user);
    const log = $(".log", column.element);
    log.append(item);
    while (log.children.length > 2000) log.firstElementChild.remove();
    scrollLater(log);
  }
}

// Once for all that comes together: each time, the page is laid out anew.
const scrolling = new Set();

function scrollLater(log) {
  if (!scrolling.size) requestAnimationFrame(() => {
    for (const each of scrolling) each.scrollTop = each.scrollHeight;
    scrolling.clear();
  });
  scrolling.add(log);
}

function note(item, text) {
  const small = document.createElement("small");
  small.textContent = text;
  item.prepend(small);
}

// Turns.

const words = {not_done: "not done"};
const milliseconds = (number) => number === null ? "…" : number < 10 ? `${number.toFixed(2)} ms` : `${Math.round(number)} ms`;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function showTurn(turn) {
  if (turn.number <= lastTurn) return;
  lastTurn = turn.number;
  const item = $("#turn").content.cloneNode(true).firstElementChild;
  const settled = $(".settled", item);
  settled.textContent = words[turn.settled] ?? turn.settled;
  settled.classList.add(turn.settled);
  $(".who", item).textContent = turn.session;
  $(".what", item).textContent = turn.event.text ?? turn.event.payload ?? turn.event.kind;
  $(".took", item).textContent = milliseconds(turn.ms);
  const details = $("details", item);
  details.dataset.number = turn.number;
  let filled = false;
  details.ontoggle = () => {
    if (filled || !details.open) return;
    filled = true;
    $(".steps", item).append(...turn.steps.map((step) => showStep(step, turn)));
    $(".body", item).append(...bodyOf(turn));
  };
  const resend = $(".resend", item);
  resend.hidden = turn.origin !== "event";
  resend.onclick = () => attempt(() => ask("api/again", {turn: turn.number}));
  $(".open", item).onclick = () => openSession(turn.session);
  const list = $("#list");
  list.prepend(item);
  while (list.children.length > 300) list.lastElementChild.remove();
  $("#no-turns").hidden = true;
  if (opened === turn.session && $("#session").open && !changed()) readSession();
}

function showStep(step, turn) {
  const bar = make("i", {className: step.name});
  const whole = Math.max(turn.ms ?? 0, 0.001);
  bar.style.left = `${Math.min(99, 100 * step.after / whole)}%`;
  bar.style.width = `${Math.min(100, 100 * (step.ms ?? 0) / whole)}%`;
  const name = step.method ? step.method : step.name;
  const more = [step.tries > 1 ? `${step.tries} tries` : "", step.failed ? "failed" : ""].filter(Boolean);
  return make("li", {},
    make("span", {textContent: more.length ? `${name} (${more.join(", ")})` : name}),
    make("span", {className: "bar", ariaHidden: "true"}, bar),
    make("span", {className: "took-step", textContent: milliseconds(step.ms)}));
}

function bodyOf(turn) {
  const parts = [];
  if (turn.error) {
    const box = make("div", {className: "error"}, make("p", {}, make("strong", {textContent: turn.error.type}), `: ${turn.error.message}`));
    if (turn.error.place) box.append(make("p", {className: "place", textContent: turn.error.place}));
    box.append(make("details", {}, make("summary", {textContent: "Traceback"}), make("pre", {textContent: turn.error.traceback, tabIndex: 0})));
    parts.push(box);
  }
  parts.push(turn.changes.length ? changesOf(turn) : make("p", {className: "dull", textContent: "It changed nothing."}));
  if (turn.sent.length) {
    parts.push(make("div", {className: "sent"}, make("h3", {textContent: "What it sent"}), make("ol", {}, ...turn.sent.map((text) => make("li", {textContent: text, dir: "auto"})))));
  }
  if (turn.before !== null) {
    const title = turn.found ? "What it read" : "What a new session begins with";
    parts.push(make("details", {}, make("summary", {textContent: title}), make("pre", {textContent: turn.before, tabIndex: 0})));
  }
  return parts;
}

function changesOf(turn) {
  const kept = turn.settled === "committed" || turn.settled === "failed" && turn.changes.length;
  const table = make("table", {}, make("caption", {textContent: kept ? "What it changed" : "What it would have changed"}));
  const head = make("tr", {}, ...["Part", "Before", "After"].map((name) => make("th", {scope: "col", textContent: name})));
  table.append(make("thead", {}, head));
  const body = make("tbody");
  for (const change of turn.changes) {
    body.append(make("tr", {}, make("th", {scope: "row", textContent: change.path || "all"}), cell(change.before, "cut"), cell(change.after, "add")));
  }
  if (turn.more_changes) body.append(make("tr", {}, make("td", {colSpan: 3, textContent: `and ${turn.more_changes} more`})));
  table.append(body);
  return table;
}

function cell(part, name) {
  if (part === null) return make("td", {className: "dull", textContent: "nothing"});
  const tag = name === "cut" ? "del" : "ins";
  return make("td", {className: name}, make(tag, {textContent: part}));
}

// The session.

const dialog = $("#session");
let shown = "";
let version = null;
const changed = () => $("#state").value !== shown;

async function openSession(id) {
  opened = id;
  $("#session-title").textContent = id;
  $("#facts").replaceChildren();
  $("#state").value = shown = "";
  if (!dialog.open) dialog.showModal();
  await readSession();
}

async function readSession() {
  const id = opened;
  refuse("");
  $("#write").disabled = true;
  const patience = setTimeout(() => refuse("A turn holds the session: waiting for it."), 500);
  try {
    const told = await ask(`api/session?${new URLSearchParams({id})}`);
    if (id === opened) showSession(told);
  } catch (error) {
    if (id === opened) refuse(error.message);
  } finally { clearTimeout(patience); }
}

function showSession(told) {
  $("#write").disabled = false;
  version = told.version;
  shown = told.state;
  $("#session-title").textContent = told.id;
  $("#state").value = shown;
  refuse("");
  const local = (text) => text === null ? "never" : new Date(text).toLocaleString();
  const facts = told.is_new ? [["", "It does not exist yet: this is what it would begin with."]] : [
    ["begun", local(told.created_at)], ["last activity", local(told.last_activity)],
    ["expires", local(told.expires_at)], ["people", told.users.join(", ") || "–"],
    ["address", told.address ?? "–"], ["step", told.step ?? "–"], ["schema", told.schema], ["events remembered", told.seen],
    ["bytes", told.bytes], ["version", told.version],
  ];
  $("#facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", {textContent: name}), make("dd", {textContent: value})]));
}

const refuse = (text) => { $("#refused").textContent = text; };

$("#write").onclick = async () => {
  const state = $("#state").value;
  try { JSON.parse(state); } catch (error) { refuse(`That is no JSON: ${error.message}`); return; }
  try {
    // The text goes as it is: numbers would not survive being read here.
    showSession(await post("api/edit", `{"id": ${JSON.stringify(opened)}, "version": ${JSON.stringify(version)}, "state": ${state}}`));
    say(`${opened} was changed.`);
  } catch (error) { refuse(error.message); }
};
$("#again").onclick = readSession;
$("#delete").onclick = async () => {
  if (!confirm(`Delete ${opened}? It begins anew with the next event.`)) return;
  try { await ask("api/delete", {id: opened}); say(`${opened} was deleted.`); await readSession(); } catch (error) { refuse(error.message); }
};
dialog.onclose = () => { opened = null; };

// The page.

for (const button of document.querySelectorAll("[data-minutes]")) {
  button.onclick = () => move(Number(button.dataset.minutes));
}
$("#clock").onsubmit = (event) => { event.preventDefault(); move(Number($("#minutes").value)); };
$("#clear").onclick = () => attempt(() => ask("api/clear", {}));
$("#add").onsubmit = (event) => {
  event.preventDefault();
  const form = event.target;
  const column = addPerson(form.person.value.trim(), form.conversation.value.trim() || null);
  form.reset();
  attempt(load).then(() => $("input", column.element).focus());
};
people().forEach(({person, conversation}) => addPerson(person, conversation));
setInterval(tick, 5000);
listen();
