// The console: who is signed in, and which page is open. A page is a module with `title` and `open`, which fills an element and
// answers how to close it again. Pages are in overview.js, channels.js, channel.js, users.js, refusals.js and config.js.

import { get, post } from "./api.js";
import { announce } from "./dom.js";
import * as channel from "./channel.js";
import * as channels from "./channels.js";
import * as config from "./config.js";
import * as login from "./login.js";
import * as overview from "./overview.js";
import { Pulse } from "./pulse.js";
import * as refusals from "./refusals.js";
import * as users from "./users.js";

const view = document.querySelector("#view");
const top = document.querySelector("#top");
const state = document.querySelector("#state");
const signOut = document.querySelector("#sign-out");

const pulse = new Pulse();
let isIn = false;
let close;

// The page that an address names, and what of.
function page(hash) {
  const [name = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const subject = decode(rest.join("/"));
  if (name === "channels") return subject ? [channel, subject] : [channels];
  if (name === "users") return [users, subject];
  return [{ refusals, config }[name] ?? overview];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show([module, subject], moveFocus = true) {
  close?.();
  close = undefined;
  view.replaceChildren();
  view.className = "page";
  view.dataset.page = module.title(subject);
  document.title = `${module.title(subject)} · Tidings`;
  close = module.open(view, { pulse, subject, signedIn });
  // Who uses a keyboard or a screen reader begins at what is new, or in the field that a page begins with.
  if (moveFocus && !view.contains(document.activeElement)) view.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function route(moveFocus) {
  if (!isIn) return;
  const [module, subject] = page(location.hash);
  const [name] = location.hash.replace(/^#\/?/, "").split("/");
  for (const link of document.querySelectorAll("#views a")) {
    const isIt = link.hash === `#/${name || "overview"}`;
    if (isIt) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  show([module, subject], moveFocus);
}

function signedIn({ needsPassword }) {
  isIn = true;
  top.hidden = false;
  signOut.hidden = !needsPassword;
  pulse.start();
  route(false);
}

function signedOut(message) {
  isIn = false;
  pulse.stop();
  top.hidden = true;
  show([login, message], false);
}

addEventListener("hashchange", () => {
  // The link to skip the menu is none to a page.
  if (location.hash === "#view") return view.focus();
  route(true);
});
addEventListener("signed-out", () => isIn && signedOut("The session is over. Sign in again."));
signOut.addEventListener("click", async () => {
  try {
    await post("logout");
  } finally {
    signedOut("You are signed out.");
  }
});
pulse.addEventListener("beat", () => {
  if (state.dataset.state === pulse.state) return;
  state.dataset.state = pulse.state;
  document.querySelector("#state-word").textContent = pulse.state;
  if (pulse.state !== "ready") announce(`The server is ${pulse.state}.`);
});

try {
  const session = await get("session");
  if (session.signed_in) signedIn({ needsPassword: session.needs_password });
  else signedOut();
} catch (refused) {
  signedOut(refused.message);
}
document.body.dataset.ready = "";
