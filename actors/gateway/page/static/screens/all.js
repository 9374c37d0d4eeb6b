/** Every screen by the name in its address. */

import { Approvals } from "./approvals.js";
import { Bus } from "./bus.js";
import { Cost } from "./cost.js";
import { Letters } from "./letters.js";
import { Overview } from "./overview.js";
import { Pools } from "./pools.js";
import { Schedules } from "./schedules.js";
import { Session } from "./session.js";
import { Sessions } from "./sessions.js";
import { Settings } from "./settings.js";
import { Trace } from "./trace.js";
import { Traces } from "./traces.js";

/** @type {Record<string, any>} */
export const SCREENS = {
  overview: Overview,
  sessions: Sessions,
  session: Session,
  bus: Bus,
  letters: Letters,
  approvals: Approvals,
  pools: Pools,
  schedules: Schedules,
  traces: Traces,
  trace: Trace,
  cost: Cost,
  settings: Settings,
};
