// A text box that suggests as one types (the ARIA pattern "combobox with a list box").

import { el } from "./dom.js";

const DELAY_MS = 120;

export class Combobox {
  // find(text) resolves to [{value, note}]; choose(value) is told what was picked, or typed and entered.
  constructor(box, { id, label, placeholder, find, choose, none }) {
    this.find = find;
    this.choose = choose;
    this.none = none;
    this.asked = 0;
    this.found = [];
    this.active = -1;
    this.list = el("ul", { class: "options", role: "listbox", id: `${id}-options`, "aria-label": label, hidden: true });
    this.input = el("input", {
      id, role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `${id}-options`, placeholder,
      autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "1000",
      oninput: () => this.suggestSoon(), onfocus: () => this.suggest(), onblur: () => this.close(), onkeydown: (event) => this.key(event),
      onclick: () => this.suggest(),
    });
    box.classList.add("box");
    box.append(el("label", { for: id }, label), this.input, this.list);
  }

  suggestSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.suggest(), DELAY_MS);
  }

  async suggest() {
    const asked = ++this.asked;
    const found = await this.find(this.input.value).catch(() => []);
    // Answers may come out of order, or when the box has been left.
    if (asked !== this.asked || document.activeElement !== this.input) return;
    this.found = found;
    this.active = -1;
    const options = found.map(({ value, note }, place) =>
      el("li", {
        role: "option", id: `${this.input.id}-${place}`, "aria-selected": "false",
        onpointerdown: (event) => { event.preventDefault(); this.pick(value); },
        onpointermove: () => this.move(place),
      }, el("span", {}, value), note && el("small", {}, note)));
    if (!options.length && this.none) options.push(el("li", { class: "none" }, this.none));
    this.list.replaceChildren(...options);
    this.show(options.length > 0);
  }

  key(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.suggest();
      else if (this.found.length) this.move((this.active + (event.key === "ArrowDown" ? 1 : this.active < 0 ? 0 : -1) + this.found.length) % this.found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const typed = this.input.value.trim();
      if (this.active >= 0) this.pick(this.found[this.active].value);
      else if (typed) this.pick(this.found.find(({ value }) => value.toLowerCase() === typed.toLowerCase())?.value ?? typed);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.close();
    }
  }

  move(place) {
    this.active = place;
    [...this.list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    this.input.setAttribute("aria-activedescendant", `${this.input.id}-${place}`);
    this.list.children[place]?.scrollIntoView({ block: "nearest" });
  }

  pick(value) {
    this.input.value = "";
    this.close();
    this.choose(value);
  }

  show(open) {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    this.input.removeAttribute("aria-activedescendant");
  }

  close() {
    clearTimeout(this.timer);
    this.asked++;
    this.active = -1;
    this.show(false);
  }
}
