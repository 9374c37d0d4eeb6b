/** One trace. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { plural, seconds } from "../format.js";
import { icon } from "../icons.js";
import { link } from "../router.js";
import { paced } from "../scope.js";
import { WaterfallView } from "../waterfall.js";
import { body, head } from "./parts.js";

const AGAIN = 1500;

export class Trace {
  static parent = "traces";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.scope = scope;
    this.id = place.rest[0] ?? "";
    this.title = `Trace ${this.id.slice(0, 8)}`;
    this.name = "";
    this.waterfall = new WaterfallView(app, scope, "Telemetry has forgotten this trace, or never had it.");
    const load = paced(
      () =>
        scope.load(async () => {
          const told = await get(["traces", this.id], {}, scope.signal);
          this.name = told.rows[0]?.name ?? "";
          this.waterfall.set(told);
        }),
      AGAIN,
    );
    load();
    scope.every(AGAIN, () => this.waterfall.running > 0 && load());
  }

  draw() {
    const { spans, whole } = this.waterfall;
    return [
      head(
        [
          h(
            "a",
            { class: "button plain small square", href: link(["traces"]), "aria-label": "All traces" },
            icon("back"),
          ),
          h("span", { class: "cut" }, this.name || "Trace"),
        ],
        [
          h("span", { class: "mono" }, this.id),
          spans.length > 0 && `, ${plural(spans.length, "span")} in ${seconds(whole)}`,
        ],
        this.waterfall.tools(),
      ),
      body(this.scope, true, this.waterfall.draw()),
    ];
  }
}
