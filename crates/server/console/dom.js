// Elements, made in one place. Whatever comes from the server is text here, and never markup.

// `el("a.link", { href }, "text", child)`: attributes that are undefined or false are left out, those that begin with `on` are
// listeners.
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export const svg = (tag, attributes = {}) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

// Read out by a screen reader.
export function announce(text) {
  document.querySelector("#announcement").textContent = text;
}

// A line that says how something went: `say("good" | "bad" | "", text)`.
export function note(testid) {
  const line = el("p.note", { role: "status", "data-testid": testid });
  return {
    line,
    say(tone, text) {
      line.dataset.tone = tone;
      line.textContent = text;
    },
  };
}

// The field that a page begins with. Where there is no keyboard it would open one over half of the page.
export function begin(field) {
  if (matchMedia("(pointer: fine)").matches) field.focus({ preventScroll: true });
}

// Asks whether to go on; answers whether to.
export function ask(title, text, yes) {
  const dialog = document.querySelector("#ask");
  dialog.querySelector("#ask-title").textContent = title;
  dialog.querySelector("#ask-text").textContent = text;
  dialog.querySelector("#ask-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

// Runs `work` now and every so often while the page is in sight, one after another; the answer ends it.
export function every(ms, work) {
  let timer;
  let ended = false;
  const turn = async () => {
    if (!document.hidden) await work();
    if (!ended) timer = setTimeout(turn, ms);
  };
  turn();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
