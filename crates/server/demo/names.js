// Who somebody is on the page: a friendly default name, initials and a colour that are the same in every tab.

const TEMPERS = ["Brisk", "Calm", "Clever", "Eager", "Gentle", "Jolly", "Keen", "Lucky", "Merry", "Nimble", "Proud", "Quiet", "Sunny", "Swift", "Witty"];
const BIRDS = ["Bunting", "Crane", "Dipper", "Finch", "Heron", "Ibis", "Jay", "Kestrel", "Lark", "Martin", "Osprey", "Plover", "Robin", "Siskin", "Wren"];
const HUES = 8;

/** A name nobody chose, such as "Merry Wren"; 225 of them, so that two tabs are two people. */
export function randomName() {
  const [temper, bird] = crypto.getRandomValues(new Uint32Array(2));
  return `${TEMPERS[temper % TEMPERS.length]} ${BIRDS[bird % BIRDS.length]}`;
}

/** The element with which a person is shown: one or two initials on the person's colour. */
export function avatar(user) {
  const element = document.createElement("span");
  element.className = "avatar";
  element.dataset.hue = hue(user);
  element.setAttribute("aria-hidden", "true");
  element.textContent = initials(user);
  return element;
}

function initials(user) {
  const words = user.trim().split(/\s+/u).slice(0, 2);
  return words.map((word) => [...word][0] ?? "").join("").toUpperCase() || "?";
}

/** The number of somebody's colour, for `data-hue`. */
export function hue(user) {
  let hash = 7;
  for (const character of user) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash % HUES;
}
