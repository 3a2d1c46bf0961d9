// The demo page. Its chat: one room at a time, on the stock Socket.IO client. The panels beside it are in
// notifications.js, status.js, longpoll.js and board.js.
//
// The life of a message: `compose` makes a draft, outbox.js publishes it once, the server gives it its id, sender and
// time, and it comes back to everybody, us too, as the event `message`. What was said before we came, saved.js fetches;
// what was said while we were away, the server sends again when we are back.

import { Banner } from "./banner.js";
import { Board } from "./board.js";
import { Connection } from "./connection.js";
import { epochOf, isAfter } from "./ids.js";
import { LongPoll } from "./longpoll.js";
import { messageOf } from "./message.js";
import { randomName } from "./names.js";
import { Notifications } from "./notifications.js";
import { draft, Outbox } from "./outbox.js";
import { GAP_LINE, missedLine, Panel } from "./panel.js";
import { People, Typing } from "./presence.js";
import { Refusal } from "./refusal.js";
import { Saved } from "./saved.js";
import { Status } from "./status.js";
import { sentence, toast } from "./toasts.js";
import { Tokens } from "./tokens.js";
import { Transcript } from "./transcript.js";
import { Views } from "./views.js";

const FIRST_ROOM = "lobby";
const NAME_KEY = "tidings-demo-name";
const AGAIN_MS = 2_000;

const nameInput = document.querySelector("#name");
const roomInput = document.querySelector("#room");
const problem = document.querySelector("#join-problem");
const composer = document.querySelector("#composer");

const tokens = new Tokens();
const connection = new Connection(tokens);
const panel = new Panel("chat", { onCut: () => connection.cut(), onBack: () => connection.retry(), announces: false });
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
const saved = new Saved(connection, transcript);
const outbox = new Outbox(connection, (message) => {
  transcript.pending(message);
  if (message.status === "failed") toast(sentence(message.refusal));
});

new Notifications(tokens);
new Status(tokens);
const longPoll = new LongPoll(tokens);
const board = new Board(tokens);
new Views();

/** The room on the page. */
let room = { name: "", channel: "" };
/** The channel that we asked the server to send, and whether it said yes. */
let heard = { channel: "", sure: false };
/** How far we have read in each room; and, while we are away from it, since when and why. */
const cursors = new Map();
const aways = new Map();
let turn = 0;
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

  if (left.name) goneFrom(left.channel, "left");
  transcript.show(room.channel);
  people.show(undefined, connection.user);
  typing.clear();
  panel.count(null);
  longPoll.open(room.channel);
  board.open(`cursor:${name}`);
  if (online()) subscribe();
}

function goneFrom(channel, how) {
  if (cursors.has(channel) && !aways.has(channel)) aways.set(channel, { since: Date.now(), how });
}

/**
 * Listens to the room, from where we were if we have been there before; asks who is there; then lets go what waited. The
 * server answers one socket in order, so that when the last question is answered, we have all that we missed.
 */
async function subscribe() {
  const mine = ++turn;
  const { name, channel } = room;
  const current = () => mine === turn && online();
  const since = cursors.get(channel);
  panel.become(since ? "catching" : "connecting");
  try {
    const before = heard;
    const asked = (heard = { channel, sure: false });
    if (before.channel && before.channel !== channel) connection.ask("unsubscribe", before.channel).catch(() => {});
    // With the connection restored, its subscriptions were too, and what was missed comes without being asked for.
    const isRestored = before.sure && before.channel === channel;
    const { cursor } = await connection.ask("subscribe", channel, ...(since && !isRestored ? [{ since }] : []));
    asked.sure = true;
    if (!current()) return;
    if (!since) saw(cursor);
  } catch (refusal) {
    if (!current()) return;
    toast(refusal.code === "forbidden" ? `You can't enter #${name}.` : sentence(refusal));
    if (["rate_limited", "unanswered", "unavailable"].includes(refusal.code)) {
      setTimeout(() => current() && subscribe(), AGAIN_MS);
      return;
    }
    panel.become("stopped", refusal.message);
    transcript.note(`#${name} is closed to you.`);
    people.show(undefined, connection.user);
    outbox.open();
    return;
  }
  outbox.open();
  saved.open(channel);
  let users;
  try {
    const answer = await connection.ask("presence", channel);
    users = answer.users.map(({ user }) => user);
  } catch {
    // Not every channel tells who is in it; the chat works without.
  }
  if (!current()) return;
  people.show(users, connection.user);
  aways.delete(channel);
  panel.become("live");
}

// ---- what the server says

connection.onAny((event, data, meta, id) => {
  // The server's own words have listeners of their own.
  if (event.startsWith("tidings:")) return;
  if (meta?.channel === room.channel) {
    if (typeof id === "string") counted(id);
    hear({ id, event, data, ...meta });
  }
  if (typeof id === "string") saw(id, meta?.channel);
});

function hear({ event, data, ...rest }) {
  if (event === "typing") {
    if (rest.user && rest.user !== connection.user) typing.heard(rest.user, data?.on === true);
    return;
  }
  const message = messageOf({ event, data, ...rest }, connection.user);
  // A restored connection sends what was missed before it says that it is there.
  const away = panel.state === "live" ? undefined : aways.get(room.channel);
  message.missed = away !== undefined;
  const own = transcript.delivered(room.channel, message, away && !away.told ? missedLine(away) : "");
  if (own === null) return;
  if (message.missed) away.told = true;
  if (own) outbox.delivered(own);
  typing.heard(message.user, false);
  if (document.hidden && !message.mine) title(unread + 1);
}

connection.on("tidings:join", ({ channel, user }) => {
  if (channel === room.channel) people.join(user);
});
connection.on("tidings:leave", ({ channel, user }) => {
  if (channel !== room.channel) return;
  people.leave(user);
  typing.heard(user, false);
});
connection.on("tidings:error", (error) => toast(sentence(error)));
connection.on("gap", ({ channels, next }) => {
  if (!channels.includes(room.channel)) return;
  transcript.note(GAP_LINE, { line: true });
  // Where what is left begins; an id of an epoch that is over leads nowhere.
  if (epochOf(next) !== epochOf(cursors.get(room.channel) ?? "")) saw(next, room.channel);
});

/** How far we are. While we catch up with the room, only its own events say that; later any channel's. */
function saw(id, channel = room.channel) {
  if (channel !== room.channel && panel.state !== "live") return;
  cursors.set(room.channel, id);
  panel.saw(id);
}

/** An event of the room came that was not here yet. */
function counted(id) {
  const cursor = cursors.get(room.channel) ?? "";
  if (isAfter(id, cursor) || epochOf(id) !== epochOf(cursor)) panel.count();
}

// ---- the connection

tokens.addEventListener("user", () => transcript.own(tokens.user));

function online() {
  return connection.state.name === "online";
}

connection.addEventListener("state", () => {
  const { name, detail } = connection.state;
  document.body.dataset.connection = name;
  wire();
  if (online()) {
    if (!connection.recovered) heard = { channel: "", sure: false };
    subscribe();
    return;
  }
  const words = { connecting: panel.away ? "catching" : "connecting", trying: "waiting" };
  panel.become(words[name] ?? name, detail);
  outbox.close();
  if (room.name) goneFrom(room.channel, name);
  transcript.settle();
  typing.clear();
});
connection.addEventListener("transport", wire);

function wire() {
  panel.transport(connection.transport || "Socket.IO");
}

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
