/** Pieces that several screens are made of. */

import { h } from "../dom.js";
import { compact, money } from "../format.js";
import { icon } from "../icons.js";
import { problem } from "../overlay.js";
import { typed } from "../scope.js";

/** @typedef {import("../dom.js").Child} Child */

/**
 * @param {Child} title
 * @param {Child} about
 * @param {...Child} tools
 */
export function head(title, about, ...tools) {
  return h(
    "header",
    { class: "head" },
    h("div", { class: "head-title" }, h("h1", null, title), about && h("p", { class: "cut" }, about)),
    h("div", { class: "head-tools" }, tools),
  );
}

/**
 * The screen below its head; what went wrong stands on top.
 *
 * @param {import("../scope.js").Scope} scope
 * @param {boolean} fixed whether its parts scroll and not itself
 * @param {...Child} children
 */
export function body(scope, fixed, ...children) {
  return h(
    "div",
    { class: fixed ? "body fixed" : "body" },
    scope.failure ? problem(scope.failure) : null,
    children,
  );
}

/**
 * @param {string} label
 * @param {string} value
 * @param {(text: string) => void} then
 */
export function search(label, value, then) {
  return h(
    "div",
    { class: "search", role: "search" },
    icon("search"),
    h("input", {
      class: "field",
      type: "search",
      "aria-label": label,
      placeholder: label,
      value,
      spellcheck: "false",
      autocomplete: "off",
      oninput: once(then),
    }),
  );
}

// One handler per function, so that what waits to be typed out is not forgotten with each drawing.
/** @type {WeakMap<Function, (event: Event) => void>} */
const typing = new WeakMap();

/** @param {(text: string) => void} then */
function once(then) {
  const known = typing.get(then) ?? typed(then);
  typing.set(then, known);
  return known;
}

/**
 * @param {string} label
 * @param {[string, string][]} choices value and text
 * @param {string} chosen
 * @param {(value: string) => void} then
 */
export function segments(label, choices, chosen, then) {
  return h(
    "div",
    { class: "segments", role: "group", "aria-label": label },
    choices.map(([value, text]) =>
      h(
        "button",
        { key: value, "aria-pressed": value === chosen ? "true" : "false", onclick: () => then(value) },
        text,
      ),
    ),
  );
}

/** @type {Record<string, string>} */
const TONES = {
  open: "good",
  ready: "good",
  closed: "",
  passive: "",
  opening: "run",
  ending: "run",
  running: "run",
  starting: "run",
  draining: "warn",
  pending: "warn",
  suspended: "warn",
  approved: "good",
  done: "good",
  completed: "good",
  denied: "bad",
  failed: "bad",
  error: "bad",
  expired: "",
};

/** @param {string} state */
export function chip(state, tone = TONES[state] ?? "") {
  return h("span", { class: `chip ${tone}` }, state);
}

/**
 * A breaker's state; there, "closed" is the good one.
 *
 * @param {string} state
 */
export function breaker(state) {
  return h(
    "span",
    { class: `chip ${{ closed: "good", open: "bad", half_open: "warn" }[state] ?? ""}` },
    state.replace("_", "-"),
  );
}

/** @param {{input: number, output: number} | null | undefined} tokens */
export function tokens(tokens) {
  return tokens ? compact(tokens.input + tokens.output) : "–";
}

/** @param {[string, Child][]} pairs */
export function strip(pairs) {
  return h(
    "dl",
    { class: "strip" },
    pairs.map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))),
  );
}

/** @param {[string, Child][]} pairs */
export function facts(pairs) {
  return h(
    "dl",
    { class: "pairs" },
    pairs.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}

/**
 * @param {number} share
 * @param {string} label
 * @param {string} [tone]
 */
export function meter(share, label, tone = share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "") {
  const percent = Math.round(Math.max(0, Math.min(1, share)) * 100);
  return h(
    "div",
    {
      class: `meter ${tone}`,
      role: "meter",
      "aria-label": label,
      "aria-valuenow": percent,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    },
    h("span", { style: { width: `${percent}%` } }),
  );
}

/**
 * Usage as rows of a table.
 *
 * @param {string} first
 * @param {{key: Child, calls: number, tokens: any, cost: string | null}[]} rows
 */
export function usage(first, rows) {
  return h(
    "div",
    { class: "scroll-x" },
    h(
      "table",
      { class: "table" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", null, first),
          ["Calls", "Input", "Cached", "Output", "Reasoning", "Cost"].map((title) =>
            h("th", { class: "number" }, title),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            null,
            h("td", null, row.key),
            [
              compact(row.calls),
              compact(row.tokens.input),
              compact(row.tokens.cached),
              compact(row.tokens.output),
              compact(row.tokens.reasoning),
              money(row.cost),
            ].map((value) => h("td", { class: "number" }, value)),
          ),
        ),
      ),
    ),
  );
}
