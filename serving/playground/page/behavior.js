// What a user did before the request: profile, queries, items.

import { chip, el, whole } from "./dom.js";

const LISTS = [
  ["real_time_items", "Real time"],
  ["short_term_items", "Short term"],
  ["long_term_orders", "Long term, ordered"],
  ["long_term_carts", "Long term, in the cart"],
  ["long_term_clicks", "Long term, clicked"],
];
const FIRST = 5;

export function renderProfile(box, user, known, onRemove) {
  if (!user) return box.replaceChildren();
  const parts = [el("div", { class: "chips" }, chip(user, onRemove))];
  if (!known.known) parts.push(el("p", { class: "soft" }, "Nothing is known of this user, so answers are not personalized."));
  const profile = Object.entries(known.profile ?? {}).flatMap(([column, value]) => [el("dt", {}, column.replaceAll("_", " ")), el("dd", {}, value)]);
  if (profile.length) parts.push(el("dl", { class: "profile" }, ...profile));
  return box.replaceChildren(...parts);
}

// Whether there is any behavior to show.
export function renderBehavior(box, known, onQuery) {
  const parts = [];
  if (known?.queries?.length) {
    const queries = known.queries.map((query) => el("button", { type: "button", class: "chip", title: "Search for this", onclick: () => onQuery(query) }, query));
    parts.push(el("div", {}, heading("Searched for", known.queries.length), el("div", { class: "chips" }, ...queries)));
  }
  for (const [name, title] of LISTS) {
    const items = known?.items?.[name] ?? [];
    if (!items.length) continue;
    const rest = items.slice(FIRST);
    parts.push(el("div", {}, heading(title, items.length), el("ul", {}, ...items.slice(0, FIRST).map(line)),
      rest.length > 0 && el("details", {}, el("summary", {}, `${whole.format(rest.length)} more`), el("ul", {}, ...rest.map(line)))));
  }
  box.replaceChildren(...parts);
  return parts.length > 0;
}

// Item id -> the strongest thing that the user did with it.
export function seenBefore(known) {
  const seen = new Map();
  for (const [word, names] of [["clicked before", ["long_term_clicks", "short_term_items", "real_time_items"]], ["in the cart before", ["long_term_carts"]], ["ordered before", ["long_term_orders"]]]) {
    for (const name of names) for (const item of known?.items?.[name] ?? []) seen.set(item.item_id, word);
  }
  return seen;
}

const heading = (title, number) => el("h3", {}, `${title} `, el("small", {}, whole.format(number)));

const line = (item) => el("li", {}, item.title ?? item.item_id, item.brand && el("small", {}, ` · ${item.brand}`));
