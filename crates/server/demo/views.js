// On a narrow screen one panel shows at a time; these buttons choose which.

const CHANGING = ["status", "board"];

export class Views {
  #panels = document.querySelector("#panels");
  #buttons = [...document.querySelectorAll("#views button")];

  constructor() {
    for (const button of this.#buttons) button.addEventListener("click", () => this.show(button.value));
    this.#panels.addEventListener("arrived", ({ target }) => this.#arrived(panelOf(target)));
    this.#panels.addEventListener("seen", ({ target }) => this.#mark(this.#button(panelOf(target)), false));
    this.show("chat");
  }

  /** Shows the panel with this id. */
  show(id) {
    this.#panels.dataset.view = id;
    for (const button of this.#buttons) {
      const isThis = button.value === id;
      button.setAttribute("aria-current", String(isThis));
      if (isThis) this.#mark(button, false);
    }
    this.#panels.dispatchEvent(new CustomEvent("shown"));
  }

  // What changes all the time is no news.
  #arrived(id) {
    if (id === this.#panels.dataset.view || CHANGING.includes(id)) return;
    this.#mark(this.#button(id), true);
  }

  #button(id) {
    return this.#buttons.find(({ value }) => value === id);
  }

  #mark(button, isNew) {
    button.toggleAttribute("data-new", isNew);
    const word = button.querySelector(".new");
    if (word) word.textContent = isNew ? "(new)" : "";
  }
}

/** The id of the panel that this is in. */
function panelOf(element) {
  return element.closest(".panel").id;
}
