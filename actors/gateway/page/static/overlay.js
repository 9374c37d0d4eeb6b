/** What lies over the page: questions and short messages. */

import { ApiError } from "./api.js";
import { h, render } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {import("./dom.js").Child} Child */

const SHOWN = 6000;

/**
 * Opens a dialog; the promise gives the form's values when it is confirmed, null when it is left.
 *
 * @param {object} asked
 * @param {string} asked.title
 * @param {Child} [asked.content]
 * @param {string} [asked.action]
 * @param {boolean} [asked.bad] what it does cannot be undone
 * @param {boolean} [asked.wide]
 * @returns {Promise<Record<string, string> | null>}
 */
export function ask({ title, content, action, bad = false, wide = false }) {
  const dialog = document.createElement("dialog");
  if (wide) dialog.className = "wide";
  dialog.setAttribute("aria-label", title);
  document.body.append(dialog);
  return new Promise((resolve) => {
    /** @type {Record<string, string> | null} */
    let values = null;
    /** @param {SubmitEvent} event */
    const submitted = (event) => {
      event.preventDefault();
      const form = /** @type {HTMLFormElement} */ (event.target);
      values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
      dialog.close();
    };
    render(
      dialog,
      h(
        "form",
        { method: "dialog", onsubmit: submitted },
        h("h2", null, title),
        content,
        h(
          "div",
          { class: "actions" },
          h(
            "button",
            { class: "button", type: "button", onclick: () => dialog.close() },
            action ? "Cancel" : "Close",
          ),
          action && h("button", { class: `button ${bad ? "bad" : "main"}`, type: "submit" }, action),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(values);
    });
    dialog.showModal();
    /** @type {HTMLElement | null} */ (dialog.querySelector("[autofocus], input, textarea, .main"))?.focus();
  });
}

/**
 * Says something in a corner; listeners hear it, too.
 *
 * @param {string} text
 * @param {{bad?: boolean, hint?: string}} [more]
 */
export function toast(text, { bad = false, hint = "" } = {}) {
  const node = document.createElement("div");
  node.className = bad ? "toast bad" : "toast";
  render(node, h("div", null, h("div", null, text), hint && h("div", { class: "aside" }, hint)));
  document.querySelector(".toasts")?.append(node);
  setTimeout(() => node.remove(), bad ? SHOWN * 2 : SHOWN);
}

/**
 * Does something and says what came of it; the answer, or null where it was refused.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @param {string | ((answer: T) => string)} [done]
 * @returns {Promise<T | null>}
 */
export async function attempt(work, done = "") {
  try {
    const answer = await work();
    const said = typeof done === "string" ? done : done(answer);
    if (said) toast(said);
    return answer;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 401) toast(error.message, { bad: true, hint: error.hint });
    return null;
  }
}

/** @param {unknown} error */
export function problem(error) {
  const { message, hint } = /** @type {{message?: string, hint?: string}} */ (error ?? {});
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("div", null, message ?? String(error), hint && h("div", { class: "aside" }, hint)),
  );
}

/**
 * What stands where there is nothing yet, and what to do about it.
 *
 * @param {string} drawing
 * @param {string} title
 * @param {...Child} more
 */
export function empty(drawing, title, ...more) {
  return h("div", { class: "empty" }, icon(drawing), h("strong", null, title), h("p", null, more));
}
