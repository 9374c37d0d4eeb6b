/** Numbers, times and money as people read them. */

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

export const NOTHING = "–";

/** @param {unknown} value */
export function count(value) {
  return typeof value === "number" ? grouped.format(value) : NOTHING;
}

/** @param {unknown} value */
export function compact(value) {
  if (typeof value !== "number") return NOTHING;
  return Math.abs(value) < 10_000 ? grouped.format(value) : short.format(value);
}

/** @param {number | null | undefined} value for a rate per second */
export function rate(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (value > 0 && value < 10) return value.toFixed(1);
  return compact(Math.round(value));
}

/** @param {number | null | undefined} value in seconds */
export function seconds(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${(value * 1e3).toFixed(value < 0.01 ? 1 : 0)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  if (value < 3600) return parts(value, 60, "min", "s");
  if (value < 86_400) return parts(value / 60, 60, "h", "min");
  return parts(value / 3600, 24, "d", "h");
}

/**
 * Two units, of which the smaller is left out where it says nothing.
 *
 * @param {number} value in the smaller unit
 * @param {number} size
 * @param {string} large
 * @param {string} small
 */
function parts(value, size, large, small) {
  const whole = Math.round(value);
  const rest = whole % size;
  return `${Math.floor(whole / size)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

/**
 * US dollars; small amounts keep their first two digits, unknown is no zero.
 *
 * @param {string | number | null | undefined} value
 */
export function money(value) {
  if (value === null || value === undefined || value === "") return NOTHING;
  const amount = Number(value);
  if (!Number.isFinite(amount)) return NOTHING;
  if (amount === 0) return "$0";
  if (amount >= 1000) return `$${grouped.format(amount)}`;
  if (amount >= 0.01) return `$${amount.toFixed(amount < 1 ? 3 : 2)}`;
  return `$${amount.toPrecision(2).replace(/e.*$/, "")}${amount < 1e-6 ? ` × 10${superscript(amount)}` : ""}`;
}

/** @param {number} amount */
function superscript(amount) {
  const power = Math.floor(Math.log10(amount));
  return [...String(power)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)])).join("");
}

/** @param {string | null | undefined} iso */
export function time(iso) {
  const moment = iso ? new Date(iso) : null;
  if (!moment || Number.isNaN(moment.getTime())) return NOTHING;
  return Date.now() - moment.getTime() < 43_200_000 ? clock.format(moment) : day.format(moment);
}

/** @param {string | null | undefined} iso */
export function ago(iso) {
  const moment = iso ? Date.parse(iso) : NaN;
  if (Number.isNaN(moment)) return NOTHING;
  const past = (Date.now() - moment) / 1000;
  if (past < -1) return `in ${span(-past)}`;
  return past < 5 ? "just now" : `${span(past)} ago`;
}

/** @param {number} length */
function span(length) {
  if (length < 60) return `${Math.round(length)} s`;
  if (length < 3600) return `${Math.round(length / 60)} min`;
  if (length < 86_400) return `${Math.round(length / 3600)} h`;
  return `${Math.round(length / 86_400)} d`;
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/**
 * The end of an id of many dotted or coloned parts, which tells it from others.
 *
 * @param {string} id
 */
export function tail(id) {
  return id.split(/[.:]/).at(-1) || id;
}

/** @param {unknown} value */
export function json(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
