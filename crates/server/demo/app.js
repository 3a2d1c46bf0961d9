// The chat of the demo page: one room at a time, on the stock Socket.IO client.
//
// The life of a message: `compose` makes a draft, outbox.js publishes it once, the server gives it its id, sender and
// time, and it comes back to everybody, us too, as the event `message`.

import { Banner } from "./banner.js";
import { Connection, Refusal } from "./connection.js";
import { randomName } from "./names.js";
import { draft, Outbox } from "./outbox.js";
import { People, Typing } from "./presence.js";
import { sentence, toast } from "./toasts.js";
import { Transcript } from "./transcript.js";

const FIRST_ROOM = "lobby";
const NAME_KEY = "tidings-demo-name";
const AGAIN_MS = 2_000;

const nameInput = document.querySelector("#name");
const roomInput = document.querySelector("#room");
const problem = document.querySelector("#join-problem");
const composer = document.querySelector("#composer");
const cut = document.querySelector("#cut");

const connection = new Connection();
const people = new People();
const typing = new Typing((on) => connection.hint(room.channel, "typing", { on }));
const transcript = new Transcript(
  (message) => outbox.add(message),
  (message) => {
    outbox.discard(message);
    transcript.forget(message);
    composer.focus();
  },
);
const outbox = new Outbox(connection, (message) => {
  transcript.pending(message);
  if (message.status === "failed") toast(sentence(message.refusal));
});

/** The room on the page: `away`, while we don't hear it, is since when and after which id. */
let room = { name: "", channel: "" };
const aways = new Map();
let turn = 0;
let lastId = "";
let unread = 0;

// ---- rooms

function roomOfAddress() {
  try {
    return cleanRoom(decodeURIComponent(location.hash));
  } catch {
    return cleanRoom(location.hash);
  }
}

function cleanRoom(text) {
  return text.replace(/^[#\s]+/, "").replace(/\p{Cc}/gu, "").trim().slice(0, 60);
}

/** Moves to the room of the address, which so can be shared, and gone back to. */
function enter() {
  const name = roomOfAddress() || FIRST_ROOM;
  if (name === room.name) return;
  const left = room;
  room = { name, channel: `room:${name}` };
  roomInput.value = name;
  document.querySelector("#room-title").textContent = `# ${name}`;
  document.querySelector("#second-tab").href = `./#${encodeURIComponent(name)}`;
  title();

  transcript.show(room.channel);
  people.show(undefined, connection.user);
  typing.clear();
  if (left.name) {
    goneFrom(left.channel);
    if (online()) connection.ask("unsubscribe", left.channel).catch(() => {});
  }
  if (online()) subscribe();
}

function goneFrom(channel) {
  if (lastId && !aways.has(channel)) aways.set(channel, { after: lastId, since: Date.now() });
}

function duration(time_ms) {
  const seconds = Math.ceil(time_ms / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

/** Listens to the room, asks who is there, then lets go what waited. The server answers one socket in order. */
async function subscribe() {
  const mine = ++turn;
  const { name, channel } = room;
  const current = () => mine === turn && online();
  try {
    const { cursor } = await connection.ask("subscribe", channel);
    if (!current()) return;
    const away = aways.get(channel);
    aways.delete(channel);
    if (away && cursor !== away.after) {
      transcript.note(`Back after ${duration(Date.now() - away.since)}. What was said meanwhile may be missing.`);
    }
    saw(cursor);
  } catch (refusal) {
    if (!current()) return;
    toast(refusal.code === "forbidden" ? `You can't enter #${name}.` : sentence(refusal));
    if (["rate_limited", "unanswered", "unavailable"].includes(refusal.code)) {
      setTimeout(() => current() && subscribe(), AGAIN_MS);
      return;
    }
    transcript.note(`#${name} is closed to you.`);
    people.show(undefined, connection.user);
    outbox.open();
    return;
  }
  outbox.open();
  try {
    const { users } = await connection.ask("presence", channel);
    if (current()) people.show(users.map(({ user }) => user), connection.user);
  } catch {
    // Not every channel tells who is in it; the chat works without.
    if (current()) people.show(undefined, connection.user);
  }
}

// ---- what the server says

function hear(event, listener) {
  connection.on(event, (data, meta, id) => {
    if (typeof id === "string") saw(id);
    if (meta?.channel === room.channel) listener(data, meta, id);
  });
}

hear("message", (data, { time, user = "server" }, id) => {
  const text = typeof data === "string" ? data : data?.text;
  const nonce = typeof data?.nonce === "string" ? data.nonce : undefined;
  const message = { id, user, time, nonce, mine: user === connection.user };
  message.text = typeof text === "string" ? text : JSON.stringify(data);
  const own = transcript.delivered(room.channel, message);
  if (own === null) return;
  if (own) outbox.delivered(own);
  typing.heard(user, false);
  if (document.hidden && !message.mine) title(unread + 1);
});

hear("typing", (data, { user }) => {
  if (user && user !== connection.user) typing.heard(user, data?.on === true);
});

connection.on("tidings:join", ({ channel, user }) => {
  if (channel === room.channel) people.join(user);
});
connection.on("tidings:leave", ({ channel, user }) => {
  if (channel !== room.channel) return;
  people.leave(user);
  typing.heard(user, false);
});
connection.on("tidings:error", (error) => toast(sentence(error)));
connection.on("gap", ({ channels }) => {
  if (channels.includes(room.channel)) transcript.note("Some messages here were missed, and the server no longer has them.");
});

function saw(id) {
  lastId = id;
  document.querySelector("#last-id").textContent = id;
}

// ---- the connection

function online() {
  return connection.state.name === "online";
}

connection.addEventListener("state", () => {
  const { name } = connection.state;
  document.body.dataset.connection = name;
  cut.disabled = !online();
  wire();
  if (online()) {
    subscribe();
    return;
  }
  outbox.close();
  if (room.name) goneFrom(room.channel);
  transcript.settle();
  typing.clear();
});
connection.addEventListener("transport", wire);

function wire() {
  const words = { waiting: "waiting", trying: "trying", stopped: "not connected" };
  const text = connection.transport || words[connection.state.name] || "connecting";
  document.querySelector("#transport").textContent = text;
}

cut.addEventListener("click", () => {
  connection.cut();
  // The button is disabled now and would take the focus along.
  composer.focus();
});
// As a plain link it would change the address, which names the room.
document.querySelector("#skip").addEventListener("click", (event) => {
  event.preventDefault();
  composer.focus();
});
addEventListener("online", () => connection.state.name === "waiting" && connection.retry());

// ---- writing

document.querySelector("#compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = composer.value.trim();
  if (text) {
    outbox.add(draft(room.channel, connection.user || nameInput.value, text));
    composer.value = "";
    typing.sent();
    grow();
  }
  composer.focus();
});
composer.addEventListener("keydown", (event) => {
  // While an input method composes, Enter picks a word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.form.requestSubmit();
});
composer.addEventListener("input", () => {
  grow();
  typing.wrote(composer.value);
});

function grow() {
  composer.style.height = "auto";
  composer.style.height = `${composer.scrollHeight + composer.offsetHeight - composer.clientHeight}px`;
}

// ---- joining

document.querySelector("#join-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = nameInput.value.trim();
  const wanted = cleanRoom(roomInput.value);
  complain(name ? null : nameInput, "Choose a name first.");
  if (!name) return;
  complain(wanted ? null : roomInput, "Name a room to join.");
  if (!wanted) return;

  if (name !== connection.user) {
    try {
      await connection.rename(name);
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      complain(nameInput, sentence(refusal));
      return;
    }
    remember(name);
  }
  location.hash = encodeURIComponent(wanted);
  if (matchMedia("(pointer: fine)").matches) composer.focus();
  else document.activeElement?.blur();
});

function complain(input, text) {
  for (const each of [nameInput, roomInput]) each.setAttribute("aria-invalid", String(each === input));
  problem.textContent = input ? text : "";
  input?.focus();
}

// Storage can be switched off; the name is then a new one for each visit.
function remember(name) {
  try {
    sessionStorage.setItem(NAME_KEY, name);
  } catch {
    return;
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(NAME_KEY);
  } catch {
    return null;
  }
}

function title(count = unread) {
  unread = count;
  document.title = `${count ? `(${count}) ` : ""}#${room.name} · Tidings`;
}
document.addEventListener("visibilitychange", () => document.hidden || title(0));

// ---- begin

nameInput.value = remembered() || randomName();
remember(nameInput.value);
addEventListener("hashchange", enter);
enter();
history.replaceState(null, "", `#${encodeURIComponent(room.name)}`);
new Banner(connection);
connection.start(nameInput.value);
if (matchMedia("(pointer: fine)").matches) composer.focus();
