/** The gateway's JSON interface, asked with the page's own cookie. */

const ROOT = "api/v1/";
const PATIENCE = 30_000;

/** What the gateway refused, with what mends it. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{type?: string, message?: string, hint?: string}} told
   */
  constructor(status, told) {
    super(told.message ?? `the gateway answered ${status}`);
    this.status = status;
    this.type = told.type ?? "error";
    this.hint = told.hint ?? "";
  }
}

/** @type {Set<() => void>} */
const lockedOut = new Set();

/**
 * Calls `then` whenever the gateway asks for a token.
 *
 * @param {() => void} then
 */
export function onLockedOut(then) {
  lockedOut.add(then);
}

/**
 * A path below the interface; every part and value is escaped.
 *
 * @param {string[]} parts
 * @param {Record<string, unknown>} [query] what is empty is left out
 */
export function address(parts, query = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  const asked = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return ROOT + parts.map(encodeURIComponent).join("/") + (asked ? `?${asked}` : "");
}

/**
 * @param {string[]} parts
 * @param {Record<string, unknown>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(parts, query, signal) {
  return (await send("GET", address(parts, query), undefined, signal)).json();
}

/**
 * @param {string[]} parts
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function post(parts, body = {}) {
  return plain(await send("POST", address(parts), body));
}

/**
 * @param {string[]} parts
 * @returns {Promise<any>}
 */
export async function remove(parts) {
  return plain(await send("DELETE", address(parts)));
}

/**
 * A request whose answer is read as it comes; it has no time limit of its own.
 *
 * @param {string[]} parts
 * @param {unknown} body
 * @param {AbortSignal} [signal]
 */
export function streamed(parts, body, signal) {
  return send("POST", address(parts), body, signal ?? new AbortController().signal);
}

/**
 * @param {string} method
 * @param {string} url
 * @param {unknown} [body]
 * @param {AbortSignal} [signal] in place of the time limit
 * @returns {Promise<Response>}
 */
export async function send(method, url, body, signal) {
  let response;
  try {
    response = await fetch(url, {
      method,
      signal: signal ?? AbortSignal.timeout(PATIENCE),
      credentials: "same-origin",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, {
      type: "unreachable",
      message: "The gateway did not answer.",
      hint: "Is the runtime still up?",
    });
  }
  if (response.ok) return response;
  if (response.status === 401) lockedOut.forEach((then) => then());
  throw new ApiError(response.status, (await plain(response))?.error ?? {});
}

/** @param {Response} response */
async function plain(response) {
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
