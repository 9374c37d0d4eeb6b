/** Line drawings of 24 by 24. */

import { h } from "./dom.js";

/** @type {Record<string, string>} */
const PATHS = {
  overview: "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 7h6V4h-6z",
  sessions: "M20 15a2 2 0 0 1-2 2H9l-5 4V6a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2zM8.5 9h7M8.5 12.5H13",
  bus: "M4 7h11M11 3l4 4-4 4M20 17H9M13 13l-4 4 4 4",
  letters: "M4 6h16v12H4zM4 7l8 6 8-6",
  approvals: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4.5",
  pools: "M5 4h14v6H5zM5 14h14v6H5zM8 7h.01M8 17h.01M12 7h4M12 17h4",
  traces: "M4 6h9M8 12h9M12 18h8",
  cost: "M12 3v18M16.5 7.5C15.5 6 14 5.5 12 5.5c-2.5 0-4.300 1.200-4.300 3.100 0 4.400 9 2 9 6.600 0 2-1.900 3.300-4.700 3.300-2.300 0-4-.8-5-2.5",
  schedules: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3.5 2",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2.5v2M12 19.5v2M4.900 4.900l1.400 1.400M17.700 17.700l1.400 1.400M2.5 12h2M19.5 12h2M4.900 19.100l1.400-1.400M17.700 6.300l1.400-1.400",
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5z",
  auto: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 3v18M12 7l6.5-2M12 12h9M12 17l6 2",
  help: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM9.5 9.5c.3-3 5-3 5 0 0 2-2.5 2-2.5 4M12 17h.01",
  back: "M15 5l-7 7 7 7",
  replay: "M4 12a8 8 0 1 0 2.5-5.800M4 4v4.5h4.5",
  discard: "M5 7h14M10 11v6M14 11v6M7 7l1 13h8l1-13M9.5 7V4h5v3",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6 6l12 12M18 6L6 18",
  minus: "M6 12h12",
  plus: "M12 6v12M6 12h12",
  send: "M4 12l16-8-6 16-2.5-6.5z",
  branch: "M7 4v16M7 14c0-4 10-2 10-7M17 7V4M15 5.5 17 3.5l2 2",
  right: "M9 6l6 6-6 6",
  down: "M6 9l6 6 6-6",
  leave: "M10 4H5v16h5M15 8l4 4-4 4M19 12H9",
  empty: "M4 13l3-8h10l3 8v6H4zM4 13h5l1.5 3h3L15 13h5",
};

/** @param {string} name */
export function icon(name) {
  return h(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" },
    h("path", { d: PATHS[name] }),
  );
}
