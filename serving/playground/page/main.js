// The page: its controls, its address, and one search after another.

import * as api from "./api.js";
import { renderBehavior, renderProfile, seenBefore } from "./behavior.js";
import { Combobox } from "./combobox.js";
import { byId, chip, count, el, whole } from "./dom.js";
import { fillPickers } from "./pickers.js";
import * as permalink from "./permalink.js";
import { filtersSet, renderSides, renderSummary } from "./results.js";

const MODELS_EVERY_MS = 15000;
const NARROW = matchMedia("(max-width: 860px)");

let state = permalink.read(location.search);
const CLICK_SEEN_MS = 5000;
let served = { models: [], catalog: { state: "absent" }, users: null, live: false };
let known = null;
let searching = null;

const say = (id, text) => { byId(id).textContent = text; byId(id).hidden = !text; };
const add = (list, value) => list.includes(value) ? list : [...list, value];

// Changes what is asked, and asks it. The address changes with it, so that "back" leads to the search before.
function change(changes) {
  Object.assign(state, changes);
  showState();
  const address = permalink.write(state);
  if (address !== location.search) history.pushState(null, "", address);
  return search();
}

function showState() {
  for (const [id, key] of Object.entries({ query: "query", min: "min", max: "max", control: "control", retrieval: "retrieval" })) if (byId(id).value !== state[key]) byId(id).value = state[key];
  if (![...byId("k").options].some((option) => option.value === String(state.k))) byId("k").append(el("option", {}, String(state.k)));
  byId("k").value = String(state.k);
  byId("plain").checked = state.plain;
  fillPickers(byId("left"), byId("right"), served.models, state);
  byId("plain-field").hidden = !(state.right && state.user);
  for (const [name, key] of [["brand", "brands"], ["category", "categories"]]) {
    byId(`${name}-chips`).replaceChildren(...state[key].map((value) => chip(value, () => change({ [key]: state[key].filter((other) => other !== value) }))));
  }
  byId("where-chips").className = "chips";
  byId("where-chips").replaceChildren(...state.where.map((text) => chip(text, () => change({ where: state.where.filter((other) => other !== text) }))));
  byId("excluded").className = "chips";
  byId("excluded").replaceChildren(...state.exclude.map((item) => chip(item, () => change({ exclude: state.exclude.filter((other) => other !== item) }))));
  const without = served.models.filter((model) => model.has_relevance_control === false && [state.left, state.right].some((side) => permalink.readSide(side).model === model.key));
  byId("control-note").textContent = state.control && without.length ? `${without.map((model) => model.name).join(" and ")} cannot: exported without relevance control.` : "";
  byId("clear").hidden = !filtersSet(state);
  const set = [state.user && "user", filtersSet(state) && "filters", state.right && "two answers"].filter(Boolean);
  byId("controls-set").textContent = set.length ? `· ${set.join(", ")}` : "";
  document.title = state.query ? `${state.query} · Souk playground` : "Souk playground";
}

async function search() {
  searching?.abort();
  say("problem", "");
  say("clicked", "");
  if (!state.query.trim() || !state.left) {
    document.body.classList.remove("busy");
    return showStart();
  }
  const mine = (searching = new AbortController());
  document.body.classList.add("busy");
  try {
    const answer = await api.search(permalink.request(state), mine.signal);
    renderSummary(byId("summary"), answer.comparison);
    renderSides(byId("sides"), answer, state, seenBefore(known), { exclude: (item) => change({ exclude: add(state.exclude, item) }), click: served.live && state.user ? click : null });
    if (!answer.comparison) byId("summary").textContent = answer.sides.length === 1 && !answer.sides[0].error ? `${count(answer.sides[0].hits.length, "item", "items")} for “${state.query}”` : "";
    say("notice", notice(answer));
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("sides").replaceChildren();
    byId("summary").textContent = "";
    say("problem", error.message);
  } finally {
    if (mine === searching) document.body.classList.remove("busy");
  }
}

function notice(answer) {
  const words = [];
  const { state: reading, error } = answer.catalog;
  if (reading === "reading") words.push("The catalog is still being read; search again in a moment to see titles.");
  if (reading === "failed") words.push(error);
  if (reading === "absent") words.push("No catalog is given, so items are shown by their ids. Start the playground with --catalog FILE or --config FILE.");
  if (answer.user_state_error) words.push(answer.user_state_error);
  if (answer.user_known === false) words.push(served.users === null && !served.live
    ? "No user states are given, so nothing is known of what users did before. Start the playground with --user-state FILE or --config FILE."
    : `${state.user} is not among the user states, so the answer is not personalized.`);
  return words.join(" ");
}

async function showStart() {
  renderSummary(byId("summary"), null);
  byId("sides").classList.remove("two");
  const { queries } = await api.queries().catch(() => ({ queries: [] }));
  if (state.query.trim() && state.left) return;
  const tries = queries.map((query) => el("button", { type: "button", class: "chip", onclick: () => change({ query }) }, query));
  byId("sides").replaceChildren(el("div", { class: "start" },
    el("h2", {}, "Search as one of your users"),
    el("p", {}, "Type a query, choose whose behavior goes with it, and look at what the served model finds. Set a second model or version beside it to see what differs."),
    tries.length > 0 && el("div", {}, el("p", {}, "What this shop's users search for:"), el("div", { class: "chips" }, ...tries)),
    el("p", {}, el("kbd", {}, "/"), " goes to the query, ", el("kbd", {}, "↓"), " through suggestions, ", el("kbd", {}, "Enter"), " takes one.")));
}

async function loadUser(user) {
  try {
    known = user ? await api.user(user) : null;
  } catch (error) {
    known = { known: false };
    say("problem", error.message);
  }
  if (user !== state.user) return;
  renderProfile(byId("profile"), user, known, () => setUser(""));
  byId("behavior-section").hidden = !renderBehavior(byId("behavior"), known, (query) => change({ query }));
}

// Sends a click of the user on an item, waits until it is in the user's behavior, and searches again.
async function click(item, button) {
  const user = state.user;
  button.disabled = true;
  say("problem", "");
  say("clicked", "");
  try {
    const began = performance.now();
    await api.click(user, item);
    const newest = (now) => now.items.real_time_items?.[0]?.item_id === item;
    let now = await api.user(user);
    while (!newest(now) && performance.now() - began < CLICK_SEEN_MS) {
      await new Promise((later) => setTimeout(later, 50));
      now = await api.user(user);
    }
    if (user !== state.user) return;
    if (!newest(now)) throw new Error("The click was sent, and is not in the user's behavior yet. Does `souk follow redis` run, and does its catalog have the item?");
    const title = now.items.real_time_items[0].title ?? item;
    await loadUser(user);
    await search();
    say("clicked", `${user} clicked ${title}; ${Math.round(performance.now() - began)} ms later it is in the behavior and in this answer.`);
    byId("behavior").querySelector("li")?.classList.add("fresh");
  } catch (error) {
    say("problem", error.message);
  } finally {
    button.disabled = false;
  }
}

async function setUser(user) {
  state.user = user;
  await loadUser(user);
  return change({ user });
}

async function loadModels() {
  try {
    served = await api.models();
  } catch (error) {
    return say("models-note", error.message);
  }
  say("models-note", served.models.map((model) => model.error).filter(Boolean).join(" "));
  userBox.input.placeholder = served.users === null ? "no user; type an id" : `no user; search ${whole.format(served.users)}`;
  return fillPickers(byId("left"), byId("right"), served.models, state);
}

// From an address: a link that was followed, or "back".
async function showAddress() {
  document.body.classList.add("busy");
  state = permalink.read(location.search);
  // Several models are there to be compared; a link that names none of them begins so.
  if (!state.left) {
    state.left = served.models[0]?.key ?? "";
    state.right = state.right || (state.query ? "" : served.models[1]?.key ?? "");
  }
  showState();
  await loadUser(state.user);
  await search();
}

const userBox = new Combobox(byId("user-box"), {
  id: "user", label: "Search as", placeholder: "no user", choose: setUser, none: "No user has such an id.",
  find: async (text) => (await api.users(text)).users.map(({ user, items, queries }) => ({ value: user, note: `${count(items, "item", "items")}, ${count(queries, "query", "queries")}` })),
});
for (const [name, key, label] of [["brand", "brands", "Brand"], ["category", "categories", "Category"]]) {
  new Combobox(byId(`${name}-box`), {
    id: name, label, placeholder: "any", none: "None in the catalog.", choose: (value) => change({ [key]: add(state[key], value) }),
    find: async (text) => (await api.values(name, text)).values.map(({ value, items }) => ({ value, note: whole.format(items) })),
  });
  byId(`${name}-box`).append(el("div", { class: "chips", id: `${name}-chips` }));
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  change({ query: byId("query").value });
  if (NARROW.matches) byId("query").blur();
});
for (const id of ["left", "right", "control", "retrieval", "min", "max"]) byId(id).addEventListener("change", () => change({ [id]: byId(id).value }));
byId("k").addEventListener("change", () => change({ k: Number(byId("k").value) }));
byId("plain").addEventListener("change", () => change({ plain: byId("plain").checked }));
byId("clear").addEventListener("click", () => change({ brands: [], categories: [], exclude: [], where: [], min: "", max: "" }));
byId("where").addEventListener("input", () => byId("where").setCustomValidity(""));
byId("where").addEventListener("keydown", (event) => {
  const condition = byId("where").value.trim();
  if (event.key !== "Enter" || !condition) return;
  if (!permalink.columnFilter(condition)) {
    byId("where").setCustomValidity("Give COLUMN=VALUE, COLUMN>=NUMBER or COLUMN<=NUMBER.");
    return void byId("where").reportValidity();
  }
  byId("where").value = "";
  change({ where: add(state.where, condition) });
});
byId("exclude").addEventListener("keydown", (event) => {
  const item = byId("exclude").value.trim();
  if (event.key !== "Enter" || !item) return;
  byId("exclude").value = "";
  change({ exclude: add(state.exclude, item) });
});
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText(location.href).then(() => { byId("copy").textContent = "Copied"; }, () => { byId("copy").textContent = "Copy it from the address bar"; });
  setTimeout(() => { byId("copy").textContent = "Copy link"; }, 2000);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  byId("query").select();
});
addEventListener("popstate", showAddress);
setInterval(() => document.visibilityState === "visible" && loadModels(), MODELS_EVERY_MS);

byId("controls").open = !NARROW.matches;
NARROW.addEventListener("change", () => { byId("controls").open = !NARROW.matches; });
await loadModels();
await showAddress();
if (!state.query && !NARROW.matches) byId("query").focus();
