/** Events that are kept for later. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { ago, count, plural, seconds, tail, time } from "../format.js";
import { List } from "../list.js";
import { empty } from "../overlay.js";
import { body, head } from "./parts.js";

const AGAIN = 5000;

export class Schedules {
  title = "Schedules";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   */
  constructor(app, scope) {
    this.scope = scope;
    /** @type {any[] | null} */
    this.rows = null;
    this.list = new List({
      label: "Scheduled events",
      columns: [
        {
          title: "Event",
          width: "minmax(130px, 1.6fr)",
          cell: (row) => h("strong", { title: row.type }, tail(row.type)),
        },
        {
          title: "Id",
          wide: true,
          width: "minmax(120px, 1.6fr)",
          cell: (row) => h("span", { class: "mono" }, row.id),
        },
        { title: "Session", wide: true, width: "minmax(80px, 1fr)", cell: (row) => row.session },
        { title: "Due", width: "110px", cell: (row) => h("span", { title: row.next_at }, ago(row.next_at)) },
        { title: "Recurs", width: "minmax(110px, 1.5fr)", cell: recurs },
        { title: "Until", wide: true, width: "110px", cell: (row) => time(row.until) },
        { title: "Fired", wide: true, width: "70px", number: true, cell: (row) => count(row.fired) },
      ],
      key: (row) => row.id,
      empty: () =>
        this.rows
          ? empty(
              "schedules",
              "Nothing is scheduled",
              "Keep an event for later: ",
              h("code", null, "runtime.bus.schedule(event, after=60)"),
              ".",
            )
          : empty("schedules", "Asking the runtime …"),
    });
    const load = () =>
      scope.load(async () => {
        this.rows = (await get(["schedules"], {}, scope.signal)).items;
        this.list.set(this.rows ?? []);
      });
    load();
    scope.every(AGAIN, load);
  }

  draw() {
    return [
      head(
        "Schedules",
        this.rows ? plural(this.rows.length, "event kept for later", "events kept for later") : " ",
      ),
      body(this.scope, true, this.list.view),
    ];
  }
}

/** @param {any} row */
function recurs(row) {
  if (row.cron) return `${row.cron} (${row.zone})`;
  return row.every ? `every ${seconds(row.every)}` : "once";
}
