/** Tool calls that wait for somebody's leave. */

import { get, post } from "../api.js";
import { h } from "../dom.js";
import { ago, json, plural } from "../format.js";
import { icon } from "../icons.js";
import { attempt, empty } from "../overlay.js";
import { link, note } from "../router.js";
import { paced } from "../scope.js";
import { body, chip, head, segments } from "./parts.js";

const SHOWN = 100;
const PAGE = 500;

export class Approvals {
  title = "Approvals";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.state = place.query.state ?? "pending";
    /** @type {any[] | null} */
    this.rows = null;
    this.more = false;
    /** @type {Set<string>} */
    this.busy = new Set();
    this.keys = {
      y: /** @type {[string, () => void]} */ (["Approve the chosen call", () => this.#chosen(true)]),
      n: /** @type {[string, () => void]} */ (["Deny the chosen call", () => this.#chosen(false)]),
    };
    this.refresh = paced(() => this.#load(), 500);
    scope.watch("approvals", () => this.refresh());
    scope.every(15_000, () => app.redraw());
    this.refresh();
  }

  draw() {
    const waiting = this.app.overview?.approvals_pending ?? 0;
    return [
      head(
        "Approvals",
        waiting
          ? `${plural(waiting, "tool call")} ${waiting === 1 ? "waits" : "wait"} for leave`
          : "No tool call waits for leave",
        segments(
          "Which approvals",
          [
            ["pending", "Pending"],
            ["all", "All"],
          ],
          this.state,
          this.#narrow,
        ),
      ),
      body(
        this.scope,
        false,
        this.rows?.length
          ? h(
              "ul",
              { class: "approvals" },
              this.rows.map((row) => this.#card(row)),
            )
          : h("div", { class: "card" }, this.#empty()),
        this.more && h("p", { class: "aside" }, `The first ${SHOWN} are shown.`),
      ),
    ];
  }

  /** @param {any} row */
  #card(row) {
    const busy = this.busy.has(row.id);
    return h(
      "li",
      {
        key: row.id,
        class: "card approval",
        tabindex: "0",
        "data-approval": row.id,
        "aria-label": `${row.tool}, ${row.state}`,
      },
      h(
        "header",
        null,
        h("h2", { class: "mono" }, row.tool),
        chip(row.state),
        h(
          "span",
          { class: "aside push" },
          `asked ${ago(row.created)}${row.expires && row.state === "pending" ? `, expires ${ago(row.expires)}` : ""}`,
        ),
      ),
      h(
        "div",
        { class: "inner stack" },
        h(
          "p",
          null,
          "Session ",
          h("a", { href: link(["session", row.session]) }, row.session),
          row.reason && `: ${row.reason}`,
        ),
        h("pre", { class: "block", "aria-label": "Arguments" }, json(row.arguments)),
        row.state === "pending"
          ? h(
              "form",
              {
                class: "row answer",
                onsubmit: (/** @type {SubmitEvent} */ event) => this.#submitted(event, row),
              },
              h("input", {
                class: "field",
                name: "note",
                placeholder: "Note for the model (optional)",
                "aria-label": "Note for the model",
                autocomplete: "off",
                maxlength: "2000",
              }),
              h(
                "button",
                { class: "button main", name: "answer", value: "approve", disabled: busy },
                icon("check"),
                "Approve",
              ),
              h(
                "button",
                { class: "button bad", name: "answer", value: "deny", disabled: busy },
                icon("cross"),
                "Deny",
              ),
            )
          : h(
              "p",
              { class: "aside" },
              row.state === "expired"
                ? `Nobody answered until ${ago(row.expires)}.`
                : [
                    `${row.state} by ${row.by || "somebody"}, ${ago(row.answered)}`,
                    row.note && `: ${row.note}`,
                  ],
            ),
      ),
    );
  }

  #empty() {
    if (!this.rows) return empty("approvals", "Asking the runtime …");
    return empty(
      "approvals",
      this.state === "pending" ? "Nothing waits" : "Nothing has been asked yet",
      "A tool made with ",
      h("code", null, "@tool(approval=True)"),
      " asks here before it runs.",
    );
  }

  #load() {
    return this.scope.load(async () => {
      // Who has waited longest comes first; of all that were asked, the last.
      const { state } = this;
      /** @type {any[]} */
      let rows = [];
      let cursor = null;
      do {
        const page = await get(["approvals"], { state, cursor, limit: PAGE }, this.scope.signal);
        rows = [...rows, ...page.items];
        cursor = page.next;
      } while (state === "all" && cursor !== null);
      if (state !== this.state) return;
      if (state === "all") rows.reverse();
      this.rows = rows.slice(0, SHOWN);
      this.more = rows.length > SHOWN;
    });
  }

  /** @param {SubmitEvent} event @param {any} row */
  #submitted(event, row) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const given = new FormData(form, event.submitter);
    this.#answer(row, given.get("answer") !== "deny", String(given.get("note") ?? ""));
  }

  /** @param {any} row @param {boolean} approve @param {string} note */
  async #answer(row, approve, note) {
    this.busy.add(row.id);
    this.app.redraw();
    await attempt(
      () => post(["approvals", row.id], { approve, note }),
      `${row.tool} is ${approve ? "approved" : "denied"}`,
    );
    this.busy.delete(row.id);
    this.refresh();
  }

  /** @param {boolean} approve */
  #chosen(approve) {
    const card =
      document.activeElement?.closest("[data-approval]") ?? document.querySelector("[data-approval] form");
    const form = /** @type {HTMLFormElement | null} */ (
      card?.closest("[data-approval]")?.querySelector("form")
    );
    form?.requestSubmit(form.querySelector(`[value=${approve ? "approve" : "deny"}]`));
  }

  #narrow = (/** @type {string} */ state) => {
    this.state = state;
    note({ state: state === "pending" ? "" : state });
    this.refresh();
  };
}
