// Builds elements. Text goes in as text nodes only, so that nothing of a shop's data can become markup.

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

// A round label with a button that takes it away.
export function chip(text, remove) {
  return el("span", { class: "chip set" }, text, el("button", { type: "button", "aria-label": `Remove ${text}`, onclick: remove }, "×"));
}

export const whole = new Intl.NumberFormat("en");
export const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const count = (number, one, many) => `${whole.format(number)} ${number === 1 ? one : many}`;
