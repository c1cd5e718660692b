// The two boxes in which a model and its version are chosen.

import { el } from "./dom.js";
import { readSide, writeSide } from "./permalink.js";

export function fillPickers(left, right, models, state) {
  fill(left, models, state.left, null);
  fill(right, models, state.right, "nothing");
}

function fill(box, models, chosen, none) {
  const groups = models.map((model) => el("optgroup", { label: model.key }, ...options(model)));
  const known = models.some((model) => [model.key, ...model.versions.map((one) => writeSide(model.key, String(one.version)))].includes(chosen));
  if (chosen && !known) {
    const { model, version } = readSide(chosen);
    groups.unshift(el("option", { value: chosen }, version === null ? `${model} (not served)` : `${model}, version ${version} (gone)`));
  }
  if (none !== null) groups.unshift(el("option", { value: "" }, none));
  // An open box closes when its options are replaced.
  const now = el("select", {}, ...groups);
  if (now.textContent + labels(now) !== box.textContent + labels(box)) box.replaceChildren(...groups);
  box.value = chosen;
}

const labels = (box) => [...box.querySelectorAll("optgroup")].map((group) => group.label).join("|");

function options({ key, name, versions, error }) {
  const newest = versions.find((one) => one.state === "AVAILABLE");
  const label = newest ? `${name}, newest (${newest.version})` : `${name}, newest${error ? " (does not answer)" : ""}`;
  return [el("option", { value: key }, label), ...versions.map((one) =>
    el("option", { value: writeSide(key, String(one.version)), disabled: one.state !== "AVAILABLE" },
      `${name}, version ${one.version}${one.state === "AVAILABLE" ? "" : ` (${one.error || one.state.toLowerCase()})`}`))];
}
