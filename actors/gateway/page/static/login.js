/** Who is there? A token for a cookie, which scripts cannot read. */

import { ApiError, send } from "./api.js";
import { h } from "./dom.js";
import { problem } from "./overlay.js";

const KEPT = "llmgine.logged-in";

/** Whether this browser has logged in; only the gateway knows for how long. */
export function isLoggedIn() {
  return localStorage.getItem(KEPT) !== null;
}

/** Gives the cookie back. */
export async function logOut() {
  await send("POST", "logout", {});
  localStorage.removeItem(KEPT);
}

export class Login {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    /** @type {unknown} */
    this.refused = null;
    this.busy = false;
  }

  draw() {
    return h(
      "main",
      { class: "login", key: "login", "aria-label": "Log in" },
      h(
        "form",
        { class: "card", onsubmit: this.#submit },
        h("div", { class: "brand" }, h("img", { src: "static/icon.svg", alt: "" }), h("h1", null, "llmgine")),
        h(
          "p",
          { class: "aside" },
          "This gateway asks for a token. It is the one that the settings of its runtime name under ",
          h("code", null, "gateway"),
          ".",
        ),
        h(
          "label",
          { class: "labelled" },
          "Token",
          h("input", {
            class: "field",
            type: "password",
            name: "token",
            required: true,
            autocomplete: "current-password",
            autofocus: true,
          }),
        ),
        this.refused ? problem(this.refused) : null,
        h("button", { class: "button main", type: "submit", disabled: this.busy }, "Log in"),
      ),
    );
  }

  /** @param {SubmitEvent} event */
  #submit = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const token = String(new FormData(form).get("token"));
    this.busy = true;
    this.app.redraw();
    try {
      await send("POST", "login", { token });
      localStorage.setItem(KEPT, "yes");
      this.refused = null;
      form.reset();
      this.app.unlock();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.refused = error.status === 401 ? { message: "That token is not known here." } : error;
    } finally {
      this.busy = false;
      this.app.redraw();
    }
  };
}
