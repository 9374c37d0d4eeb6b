/** What was used, and what it cost. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { compact, money, plural } from "../format.js";
import { List } from "../list.js";
import { empty } from "../overlay.js";
import { go, note } from "../router.js";
import { body, head, meter, segments, strip } from "./parts.js";

const AGAIN = 5000;
/** @type {[string, string][]} */
const SPANS = [
  ["", "All"],
  ["1", "Hour"],
  ["24", "Day"],
  ["168", "Week"],
];

export class Cost {
  title = "Cost";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.by = place.query.by || "model";
    this.hours = place.query.hours ?? "";
    /** @type {any} */
    this.table = null;
    this.dearest = 0;
    this.list = new List({
      label: "Cost",
      columns: [
        {
          title: "Name",
          width: "minmax(140px, 2fr)",
          cell: (row) => h("strong", null, row.key),
          head: () => ({ model: "Model", session: "Session", provider: "Provider" })[this.by] ?? "",
        },
        {
          title: "Share",
          wide: true,
          width: "minmax(80px, 1.4fr)",
          cell: (row) =>
            row.cost === null
              ? h("span", { class: "aside" }, "price unknown")
              : meter(this.dearest ? Number(row.cost) / this.dearest : 0, "Share of the dearest", " "),
        },
        { title: "Cost", width: "90px", number: true, cell: (row) => h("strong", null, money(row.cost)) },
        { title: "Calls", width: "70px", number: true, cell: (row) => compact(row.calls) },
        { title: "Input", wide: true, width: "76px", number: true, cell: (row) => compact(row.tokens.input) },
        {
          title: "Cached",
          wide: true,
          width: "76px",
          number: true,
          cell: (row) => compact(row.tokens.cached),
        },
        {
          title: "Output",
          wide: true,
          width: "76px",
          number: true,
          cell: (row) => compact(row.tokens.output),
        },
        {
          title: "Reasoning",
          wide: true,
          width: "82px",
          number: true,
          cell: (row) => compact(row.tokens.reasoning),
        },
      ],
      key: (row) => row.key,
      onOpen: (row) => this.by === "session" && go(["session", row.key]),
      empty: () =>
        this.table
          ? empty("cost", "Nothing has been used", "Model calls show up here once one has ended.")
          : empty("cost", "Asking the runtime …"),
    });
    this.#load();
    scope.every(AGAIN, () => this.#load());
  }

  draw() {
    const rows = this.table?.rows ?? [];
    const sum = (/** @type {string} */ name) =>
      compact(
        rows.reduce((/** @type {number} */ total, /** @type {any} */ row) => total + row.tokens[name], 0),
      );
    const unpriced = rows.reduce(
      (/** @type {number} */ sum, /** @type {any} */ row) => sum + row.unpriced,
      0,
    );
    return [
      head(
        "Cost",
        unpriced ? `${plural(unpriced, "call", "calls")} without a known price ${unpriced === 1 ? "is" : "are"} left out` : " ",
        segments("Since", SPANS, this.hours, (hours) => this.#choose({ hours })),
        segments(
          "Added up by",
          [
            ["model", "Model"],
            ["session", "Session"],
            ["provider", "Provider"],
          ],
          this.by,
          (by) => this.#choose({ by }),
        ),
      ),
      body(
        this.scope,
        true,
        strip([
          ["Cost", money(this.table?.total)],
          ["Input tokens", sum("input")],
          ["of them cached", sum("cached")],
          ["Output tokens", sum("output")],
          ["of them reasoning", sum("reasoning")],
        ]),
        this.list.view,
      ),
    ];
  }

  #load() {
    const { by, hours } = this;
    return this.scope.load(async () => {
      const since = hours && new Date(Date.now() - Number(hours) * 3_600_000).toISOString();
      const table = await get(["cost"], { by, since }, this.scope.signal);
      if (by !== this.by || hours !== this.hours) return;
      this.table = table;
      this.dearest = Math.max(0, ...table.rows.map((/** @type {any} */ row) => Number(row.cost ?? 0)));
      this.list.set(table.rows);
    });
  }

  /** @param {{by?: string, hours?: string}} change */
  #choose({ by = this.by, hours = this.hours }) {
    this.by = by;
    this.hours = hours;
    note({ by, hours });
    this.#load();
    this.app.redraw();
  }
}
