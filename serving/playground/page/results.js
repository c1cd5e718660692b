// The answers: one list of hits for each side, with what differs between two sides marked.

import { count, el, money } from "./dom.js";
import { readSide } from "./permalink.js";

const FILTERS = {
  brand: ["brand filter", "filter_brand"],
  category: ["category filter", "filter_category"],
  price: ["price range", "filter_min_price, filter_max_price"],
  exclude: ["exclusion of items", "exclude_items"],
};
// By a further column of the catalog.
const filterNamed = (name) => FILTERS[name] ?? [`filter by ${name}`, `filters of the column ${name}`];
const CONTROL = {
  applied: "relevance control: only what the query names",
  nothing_named: "relevance control: the query names no brand and no category",
  fallback: "relevance control: too few items match, nothing is left out",
};

export function renderSummary(box, comparison) {
  if (!comparison) return box.replaceChildren();
  const { shown, shared, same_rank: same } = comparison;
  return box.replaceChildren(el("b", {}, String(shared)), ` of the first ${shown} are on both sides, `, el("b", {}, String(same)), " at the same rank. ",
    el("span", { "aria-hidden": "true" }, "▲ ▼ places higher or lower than on the other side."));
}

export function renderSides(box, answer, state, seen, on) {
  box.classList.toggle("two", answer.sides.length === 2);
  box.replaceChildren(...answer.sides.map((side, place) => renderSide(side, place, answer, state, seen, on)));
}

function renderSide(side, place, answer, state, seen, on) {
  const [name, target] = splitModel(side.model);
  const plain = place === 1 && state.plain && state.user;
  const version = side.answered_by ?? side.version;
  const title = el("h2", {}, name, " ", el("small", {}, [target, version !== null && version !== undefined && `version ${version}`, plain && "without the user"].filter(Boolean).join(" · ")));
  const parts = [el("header", {}, title, side.error ? null : facts(side, answer, state, plain))];
  if (side.error) parts.push(el("p", { class: "banner bad", role: "alert" }, side.error));
  const broken = (side.filters ?? []).filter((check) => check.broken);
  if (broken.length) parts.push(unsupported(broken, side));
  if (!side.error && !side.hits.length) parts.push(el("p", { class: "empty" }, filtersSet(state) ? "Nothing found that the filters allow." : "Nothing found."));
  if (side.hits.length) {
    const scores = side.hits.map((hit) => hit.score).filter((score) => score !== null);
    const [low, high] = [Math.min(...scores), Math.max(...scores)];
    // Between the lowest and the highest of what is shown: scores lie close together far from 0.
    const share = (score) => (score === null ? 0 : high <= low ? 1 : 0.06 + (0.94 * (score - low)) / (high - low));
    parts.push(el("ol", { class: "hits", "aria-label": `Items of ${name}${place ? ", right side" : ""}` }, ...side.hits.map((hit) => renderHit(hit, share(hit.score), state.k, seen, on))));
  }
  return el("section", { class: `side ${place ? "right" : "left"}` }, ...parts);
}

function facts(side, answer, state, plain) {
  const shown = side.found > side.hits.length ? `, ${side.hits.length} shown` : "";
  const parts = [
    el("span", {}, el("b", { class: "latency" }, `${side.latency_ms.toFixed(1)} ms`), " round trip"),
    el("span", {}, `${count(side.found, "item", "items")} found${shown}`),
  ];
  if (state.k > side.places) parts.push(el("span", { class: "warn" }, `the model returns ${side.places} at most`));
  if (state.user && answer.user_known && !plain) parts.push(el("span", {}, `personalized for ${state.user}`));
  const done = side.relevance_control;
  if (CONTROL[done]) parts.push(el("span", { class: { applied: "good", fallback: "warn" }[done] ?? "" }, CONTROL[done]));
  else if (state.control === "on") parts.push(el("span", { class: "warn" }, "no relevance control in this model"));
  const only = side.hits.filter((hit) => hit.other_rank === null).length;
  if (answer.comparison) parts.push(el("span", { class: "own", title: "not in the other answer at all" }, el("b", {}, String(only)), " only here"));
  const ignored = side.filters.some((check) => check.broken);
  for (const check of side.filters) {
    const [what] = filterNamed(check.name);
    if (check.broken) continue;
    if (check.unknown) parts.push(el("span", { class: "warn" }, `${what} not checked: the catalog lacks ${count(check.unknown, "item", "items")}`));
    // Beside an ignored filter, another one is met by chance.
    else if (check.kept && !ignored) parts.push(el("span", { class: "good" }, `${what} kept`));
  }
  return el("div", { class: "facts" }, ...parts);
}

function unsupported(broken, side) {
  const each = broken.map((check) => `the ${filterNamed(check.name)[0]} (${check.broken} of ${side.found} items found do not fit)`);
  return el("p", { class: "banner", role: "status" },
    `This model ignores ${each.join(" and ")}. It was asked with ${broken.map((check) => filterNamed(check.name)[1]).join(", ")}, which models exported before Souk had filters, or trained without the column, do not read; export it again.`);
}

function renderHit(hit, share, shown, seen, on) {
  const move = "other_rank" in hit ? renderMove(hit, shown) : null;
  const title = el("div", { class: hit.title ? "title" : "title unknown" }, el("span", { class: "name" }, hit.title ?? hit.item_id));
  if (seen.has(hit.item_id)) title.append(" ", el("span", { class: "tag" }, seen.get(hit.item_id)));
  const about = [hit.brand && el("span", { class: "brand" }, hit.brand), hit.category && el("span", { title: hit.category }, hit.category.split(" > ").slice(-2).join(" › ")),
    hit.shop && el("span", {}, hit.shop), hit.title && el("span", {}, hit.item_id)].filter(Boolean);
  const bar = el("i");
  bar.style.width = `${Math.round(share * 100)}%`;
  return el("li", { class: hit.other_rank === null ? "hit only" : "hit", "data-item": hit.item_id, onpointerenter: point, onpointerleave: point },
    el("div", { class: "place" }, el("b", {}, String(hit.rank)), move),
    el("div", {}, title, el("div", { class: "about" }, ...about.flatMap((part, at) => (at ? [" · ", part] : [part])), on.click && clickButton(hit, on)),
      ...Object.entries(hit.further ?? {}).map(([name, value]) => el("div", { class: "about" }, `${name}: ${value}`))),
    el("div", { class: "numbers" },
      el("span", { class: "price" }, hit.price === null ? "" : money.format(hit.price)),
      el("span", { class: "score", title: "score" }, hit.score === null ? "no score" : hit.score.toFixed(4)),
      el("span", { class: "bar", "aria-hidden": "true" }, bar)),
    el("button", { type: "button", class: "leave", title: "Exclude this item", "aria-label": `Exclude ${hit.title ?? hit.item_id}`, onclick: () => on.exclude(hit.item_id) }, "×"));
}

function clickButton(hit, on) {
  return el("button", { type: "button", class: "click", title: "Send a click of this user on this item", "aria-label": `Click ${hit.title ?? hit.item_id} as the user`, onclick: (event) => on.click(hit.item_id, event.currentTarget) }, "click this item");
}

function renderMove({ rank, other_rank: other }, shown) {
  if (other === null) return el("span", { class: "move", title: "not in the other answer at all" }, "only here");
  const places = Math.abs(other - rank);
  const [kind, sign, words] = other === rank ? ["", "=", "same rank on the other side"]
    : other > rank ? ["up", `▲ ${places}`, `${places} higher than on the other side, where it is ${other}`]
      : ["down", `▼ ${places}`, `${places} lower than on the other side, where it is ${other}`];
  return el("span", { class: `move ${kind}`, title: words }, el("span", { "aria-hidden": "true" }, sign), el("span", { class: "hidden" }, words),
    // Where the other list does not go so far down, one cannot look there.
    other > shown && el("small", { "aria-hidden": "true" }, `there ${other}`));
}

// The same item stands out on both sides while the pointer is on one of them.
function point(event) {
  const item = event.currentTarget.dataset.item;
  for (const hit of document.querySelectorAll(".two .hit")) hit.classList.toggle("pointed", event.type === "pointerenter" && hit.dataset.item === item);
}

function splitModel(key) {
  const { model } = readSide(key);
  const at = model.indexOf("@");
  return [model.slice(0, at), model.slice(at + 1)];
}

export const filtersSet = (state) => Boolean(state.brands.length || state.categories.length || state.exclude.length || state.where.length || state.min || state.max);
