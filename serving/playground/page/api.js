// The playground's own JSON; every failure becomes an Error whose message can be shown.

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The playground no longer answers. Start it again with `souk playground`, then search again.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) throw new Error(body?.error ?? `The playground answered with status ${response.status}.`);
  return body;
}

const get = (path, values = {}) => call(`${path}?${new URLSearchParams(values)}`);

export const models = () => get("/api/models");
export const users = (text) => get("/api/users", { text });
export const user = (id) => get("/api/user", { user: id });
export const values = (field, text) => get("/api/values", { field, text });
export const queries = () => get("/api/queries");
const post = (path, value, signal) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value), signal });
export const search = (request, signal) => post("/api/search", request, signal);
export const click = (user, item) => post("/api/click", { user, item_id: item });
