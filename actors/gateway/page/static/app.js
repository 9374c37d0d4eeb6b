/** The page: navigation, the screen of the address, and what all screens share. */

import { get, onLockedOut } from "./api.js";
import { h, render } from "./dom.js";
import { icon } from "./icons.js";
import { Keys } from "./keys.js";
import { Live } from "./live.js";
import { isLoggedIn, Login, logOut } from "./login.js";
import { Rates } from "./rates.js";
import { attempt } from "./overlay.js";
import { go, here, link } from "./router.js";
import { Scope } from "./scope.js";
import { SCREENS } from "./screens/all.js";
import * as theme from "./theme.js";

/** @typedef {import("./scope.js").Screen} Screen */

const NAVIGATION = [
  ["overview", "Overview", "o"],
  ["sessions", "Sessions", "s"],
  ["traces", "Traces", "t"],
  ["cost", "Cost", "c"],
  null,
  ["approvals", "Approvals", "a"],
  ["letters", "Dead letters", "d"],
  null,
  ["bus", "Bus", "b"],
  ["pools", "Pools", "p"],
  ["schedules", "Schedules", "l"],
  ["settings", "Settings", "e"],
];

export class App {
  /** @param {Element} root */
  constructor(root) {
    this.root = root;
    this.live = new Live();
    this.keys = new Keys();
    this.rates = new Rates();
    /** @type {any} what the runtime last said of itself */
    this.overview = null;
    this.locked = false;
    this.login = new Login(this);
    this.planned = 0;
    /** @type {Scope | null} */
    this.scope = null;
    /** @type {Screen | null} */
    this.screen = null;
    onLockedOut(() => this.lock());
    this.live.watch("overview", (data) => this.#learn(data));
    this.live.onState(() => this.redraw());
    this.#bindKeys();
    addEventListener("hashchange", () => this.open());
  }

  /** Draws soon; several calls are one drawing. */
  redraw() {
    if (this.planned) return;
    this.planned = requestAnimationFrame(() => {
      this.planned = 0;
      this.draw();
    });
  }

  /** The gateway asks who is there. */
  lock() {
    if (this.locked) return;
    this.locked = true;
    this.live.stop();
    this.redraw();
  }

  /** It knows us now. */
  unlock() {
    this.locked = false;
    this.live.retry();
    this.open();
  }

  /** The screen of the address. */
  open() {
    if (this.locked) return this.redraw();
    const place = here();
    this.scope?.end();
    this.scope = new Scope(this);
    const Kind = SCREENS[place.name] ?? SCREENS.overview;
    const screen = new Kind(this, this.scope, place);
    this.screen = screen;
    this.keys.setScreen(screen.keys ?? {});
    const main = document.getElementById("main");
    if (main?.contains(document.activeElement)) main.focus();
    this.redraw();
  }

  async start() {
    theme.apply();
    this.open();
    try {
      this.#learn(await get(["overview"]));
    } catch {
      // The banner and the screen say so.
    }
  }

  draw() {
    const { screen } = this;
    if (this.locked || !screen) {
      document.title = "llmgine";
      render(this.root, this.login.draw());
      return;
    }
    document.title = `${screen.title} · ${this.overview?.runtime ?? "llmgine"}`;
    const place = here();
    render(
      this.root,
      h(
        "div",
        { class: "frame", key: "frame" },
        h("a", { class: "skip", href: location.hash || "#/", onclick: skip }, "Skip to the content"),
        this.#side(place.name),
        h(
          "main",
          { class: "screen", id: "main", tabindex: "-1", "aria-label": screen.title },
          this.#banner(),
          h("div", { class: "screen-inner", key: location.hash.split("?")[0] }, screen.draw()),
        ),
      ),
    );
  }

  /** @param {string} current */
  #side(current) {
    const parent = SCREENS[current]?.parent ?? current;
    return h(
      "div",
      { class: "side" },
      h(
        "a",
        { class: "brand", href: link(["overview"]), "aria-label": "llmgine, overview" },
        h("img", { src: "static/icon.svg", alt: "" }),
        h("span", null, "llmgine", h("small", { class: "cut" }, this.overview?.runtime ?? " ")),
      ),
      h(
        "nav",
        { class: "nav", "aria-label": "Screens" },
        NAVIGATION.map((entry) =>
          entry
            ? h(
                "a",
                {
                  href: link([entry[0]]),
                  "aria-current": parent === entry[0] ? "page" : null,
                  "aria-label": this.#navLabel(entry[0], entry[1]),
                },
                icon(entry[0]),
                h("span", null, entry[1]),
                this.#badge(entry[0]),
              )
            : h("div", { class: "gap" }),
        ),
      ),
      h(
        "div",
        { class: "side-foot" },
        this.#linkState(),
        isLoggedIn() &&
          h(
            "button",
            { class: "button plain square", "aria-label": "Log out", title: "Log out", onclick: this.#leave },
            icon("leave"),
          ),
        h(
          "button",
          {
            class: "button plain square",
            "aria-label": `Colours: ${theme.NAMES[theme.theme()]}`,
            title: `Colours: ${theme.NAMES[theme.theme()]}`,
            onclick: this.#recolour,
          },
          icon(theme.DRAWINGS[theme.theme()]),
        ),
        h(
          "button",
          {
            class: "button plain square",
            "aria-label": "Keyboard shortcuts",
            title: "Keyboard shortcuts (?)",
            onclick: this.#showKeys,
          },
          icon("help"),
        ),
      ),
    );
  }

  /** @param {string} name */
  #waiting(name) {
    return (
      {
        approvals: this.overview?.approvals_pending,
        letters: this.overview?.dead_letters,
        bus: this.overview?.breakers_open,
      }[name] ?? 0
    );
  }

  /** @param {string} name @param {string} text */
  #navLabel(name, text) {
    const waiting = this.#waiting(name);
    return waiting ? `${text}, ${waiting}` : text;
  }

  /** @param {string} name */
  #badge(name) {
    const waiting = this.#waiting(name);
    return (
      waiting > 0 &&
      h("span", { class: `badge ${name === "approvals" ? "warn" : ""}` }, waiting > 999 ? "999+" : waiting)
    );
  }

  #linkState() {
    const { state } = this.live;
    const words = {
      open: ["good", "Live"],
      connecting: ["", "Connecting"],
      lost: ["bad", "Offline"],
      resting: ["", "Resting"],
    }[state];
    return h("span", { class: `chip link-state ${words[0]}`, "data-state": state }, words[1]);
  }

  #banner() {
    const lost = this.live.state === "lost";
    const [unseen] = this.live.unseen.values();
    return (
      (lost || unseen) &&
      h(
        "div",
        { class: "banner", role: "alert", key: "banner" },
        lost
          ? "The connection to the gateway is lost; what you see may be old. Trying again."
          : `Not all can be seen now, and what you see may be old: ${unseen}`,
        lost && h("button", { class: "button small", onclick: this.#retry }, "Try now"),
      )
    );
  }

  #leave = async () => {
    await attempt(logOut);
    this.open();
  };

  #retry = () => this.live.retry();
  #showKeys = () => this.keys.show();
  #recolour = () => {
    theme.next();
    this.redraw();
  };

  /** @param {any} overview */
  #learn(overview) {
    this.overview = overview;
    this.rates.learn(overview);
    this.redraw();
  }

  #bindKeys() {
    for (const entry of NAVIGATION) if (entry) this.keys.add(`g ${entry[2]}`, entry[1], () => go([entry[0]]));
    this.keys.add("/", "Search", () =>
      /** @type {HTMLElement | null} */ (document.querySelector("main [type=search]"))?.focus(),
    );
    this.keys.add("t", "Colours: system, light, dark", this.#recolour);
    this.keys.add("?", "These shortcuts", this.#showKeys);
    this.keys.add("Escape", "Leave the field", () =>
      /** @type {HTMLElement | null} */ (document.activeElement)?.blur(),
    );
  }
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

const root = document.getElementById("app");
if (root) new App(root).start();
