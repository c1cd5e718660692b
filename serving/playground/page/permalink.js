// What the page shows, to and from the address: query, user, filters, models.

export const blank = () => ({
  query: "", user: "", k: 20, control: "", retrieval: "", brands: [], categories: [], exclude: [], where: [], min: "", max: "", left: "", right: "", plain: false,
});

const LISTS = { brand: "brands", category: "categories", exclude: "exclude", where: "where" };
const TEXTS = { q: "query", user: "user", rc: "control", how: "retrieval", min: "min", max: "max", left: "left", right: "right" };

export function read(search) {
  const parameters = new URLSearchParams(search);
  const state = blank();
  for (const [name, key] of Object.entries(TEXTS)) state[key] = parameters.get(name) ?? "";
  for (const [name, key] of Object.entries(LISTS)) state[key] = [...new Set(parameters.getAll(name).filter(Boolean))];
  state.k = Number.parseInt(parameters.get("k"), 10) || 20;
  state.plain = parameters.get("plain") === "1";
  return state;
}

export function write(state) {
  const parameters = new URLSearchParams();
  for (const [name, key] of Object.entries(TEXTS)) if (state[key]) parameters.set(name, state[key]);
  for (const [name, key] of Object.entries(LISTS)) for (const value of state[key]) parameters.append(name, value);
  if (state.k !== 20) parameters.set("k", state.k);
  if (state.plain && state.right) parameters.set("plain", "1");
  const text = parameters.toString();
  return text ? `?${text}` : location.pathname;
}

// One side is "name@host:port", or "name@host:port/version".
export function readSide(text) {
  const [, model, version] = /^(.*?)(?:\/(\d+))?$/.exec(text);
  return { model, version: version ?? null };
}

export const writeSide = (model, version) => (version === null ? model : `${model}/${version}`);

// A filter by a further column of the catalog: "color=red", "rating>=4", "rating<=5"; null for anything else.
export function columnFilter(text) {
  const [, column, kind, value] = /^\s*([^<>=]*[^<>=\s])\s*(=|>=|<=)\s*(\S.*?)\s*$/s.exec(text) ?? [];
  if (!column) return null;
  if (kind === "=") return { column, values: [value] };
  return Number.isFinite(Number(value)) ? { column, [kind === ">=" ? "least" : "most"]: Number(value) } : null;
}

// JSON for /api/search. A version has more digits than a JavaScript number may hold exactly, so it goes as text.
export function request(state) {
  const price = (text) => (text === "" || !Number.isFinite(Number(text)) ? null : Number(text));
  const sides = [state.left, state.right].filter(Boolean).map((text, place) => ({ ...readSide(text), personalized: !(place && state.plain) }));
  return {
    query: state.query, user: state.user || null, k: state.k, relevance_control: { on: true, off: false }[state.control] ?? null, retrieval: state.retrieval || null, sides,
    filters: { brands: state.brands, categories: state.categories, exclude: state.exclude, min_price: price(state.min), max_price: price(state.max), columns: state.where.map(columnFilter).filter(Boolean) },
  };
}
