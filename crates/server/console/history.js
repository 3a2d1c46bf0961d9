// What a channel retains, a page at a time, from the newest backwards.

import { get, part } from "./api.js";
import { el, note } from "./dom.js";
import { item, parse } from "./event.js";
import { pager } from "./pages.js";

const PAGE = 20;

export function open(root, channel) {
  let first;
  let last;
  let hasNewer = false;
  const list = el("ol.events", { "data-testid": "history" });
  const problem = note("history-note");
  const pages = pager({
    testid: "history-page",
    names: ["Newer", "Older"],
    label: "Pages of history",
    back: () => hasNewer && load({ after: last }),
    on: () => first && load({ before: first }),
  });
  root.append(
    el(
      "section.panel.history",
      { "aria-label": "History" },
      el("div.panel-head", {}, el("h2", {}, "History"), el("span.grow"), el("button.button.small.quiet", { type: "button", "data-testid": "history-newest", onclick: () => load({}) }, "Newest")),
      list,
      el("p.empty", {}, "Nothing is kept."),
      pages.element,
      problem.line,
    ),
  );

  async function load(place) {
    try {
      const page = await get(`channels/${part(channel)}/history`, { ...place, limit: PAGE }, parse);
      // The last of the pages was as far as it goes.
      if (page.events.length === 0 && (place.after || place.before)) return pages.set({ back: hasNewer && !place.after, on: !place.before });
      first = page.events[0]?.id;
      last = page.events.at(-1)?.id;
      hasNewer = Boolean(place.before) || (Boolean(place.after) && page.more);
      const hasOlder = place.after ? true : page.more;
      list.replaceChildren(...page.events.reverse().map(item));
      pages.set({ back: hasNewer, on: hasOlder });
      problem.say("", "");
    } catch (refused) {
      problem.say("bad", refused.message);
    }
  }

  load({});
  return () => {};
}
