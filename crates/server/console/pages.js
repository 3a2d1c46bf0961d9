// The buttons below a list that comes in pages.

import { el } from "./dom.js";

// `back` and `on` are called when there is something there: `set({back, on, text})`.
export function pager({ testid, names = ["Back", "More"], label, back, on }) {
  const text = el("span.pager-text", { "data-testid": `${testid}-text` });
  const buttons = [
    el("button.button.small.quiet", { type: "button", onclick: back, disabled: true, "data-testid": `${testid}-back` }, names[0]),
    el("button.button.small.quiet", { type: "button", onclick: on, disabled: true, "data-testid": `${testid}-on` }, names[1]),
  ];
  return {
    element: el("div.pager", { role: "group", "aria-label": label }, text, ...buttons),
    set({ back = false, on = false, text: now = "" }) {
      text.textContent = now;
      for (const [button, works] of [[buttons[0], back], [buttons[1], on]]) {
        // A button that has the focus keeps it, or who uses a keyboard is lost.
        if (document.activeElement === button) button.setAttribute("aria-disabled", String(!works));
        else button.removeAttribute("aria-disabled");
        button.disabled = !works && document.activeElement !== button;
      }
    },
  };
}

// A table whose rows are replaced. On a narrow screen, where there are more than two, each cell says whose column it is.
export function table({ testid, caption, columns }) {
  const body = el("tbody");
  const head = el("tr", {}, columns.map(({ name, numeric }) => el("th", { scope: "col", "data-numeric": numeric }, name)));
  const empty = el("p.empty", { hidden: true });
  return {
    element: el(
      "div.table-frame",
      {},
      el("table", { "data-testid": testid, "data-columns": columns.length }, el("caption.sr-only", {}, caption), el("thead", {}, head), body),
      empty,
    ),
    // `rows`: lists of what is in the cells, texts or elements.
    fill(rows, nothing) {
      const cell = (content, at) =>
        el("td", { "data-name": columns[at].name, "data-numeric": columns[at].numeric, "data-wide": columns[at].wide }, content);
      // What had the focus has it again, where it is still there.
      const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
      body.replaceChildren(...rows.map((cells) => el("tr", {}, cells.map(cell))));
      if (focused) body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
      empty.hidden = rows.length > 0;
      empty.textContent = nothing;
    },
  };
}
