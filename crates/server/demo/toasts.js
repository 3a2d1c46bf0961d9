// Short notes about what was refused. They leave by themselves, but not while somebody reads or focuses them.

const SHOWN_MS = 8000;
const TOASTS_MAX = 4;

const SENTENCES = {
  rate_limited: "That was faster than this server allows. Wait a moment, then try again.",
  forbidden: "You aren't allowed to do that here.",
  too_large: "That message is too large for this server.",
  unauthenticated: "The server doesn't know who you are.",
  unavailable: "The server can't do that right now.",
};

/** An error as a person reads it: our sentence for a known code, else the server's message. */
export function sentence(error) {
  return SENTENCES[error.code] ?? (error.message || "Something went wrong.");
}

/** Shows `text` in the corner; the same text twice is one toast that stays longer. */
export function toast(text) {
  const frame = document.querySelector("#toasts");
  [...frame.children].find((element) => element.dataset.text === text)?.remove();

  const element = document.createElement("div");
  element.className = "toast";
  element.dataset.testid = "toast";
  element.dataset.text = text;
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button small quiet";
  close.textContent = "Dismiss";
  close.addEventListener("click", () => element.remove());
  element.append(words, close);

  let timer;
  const wait = () => (timer = setTimeout(() => element.remove(), SHOWN_MS));
  const hold = () => clearTimeout(timer);
  for (const [begin, end] of [["mouseenter", "mouseleave"], ["focusin", "focusout"]]) {
    element.addEventListener(begin, hold);
    element.addEventListener(end, () => { hold(); wait(); });
  }
  wait();
  frame.append(element);
  while (frame.children.length > TOASTS_MAX) frame.firstElementChild.remove();
}
