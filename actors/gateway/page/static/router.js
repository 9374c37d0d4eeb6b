/** Addresses behind the hash: `#/sessions/some-id?query=text`. */

/** @typedef {{name: string, rest: string[], query: Record<string, string>}} Place */

/** @returns {Place} */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decoded);
  return {
    name: name || "overview",
    rest: rest.filter(Boolean),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * @param {string[]} parts
 * @param {Record<string, string | undefined>} [query]
 */
export function link(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const asked = new URLSearchParams(/** @type {string[][]} */ (given)).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
}

/**
 * @param {string[]} parts
 * @param {Record<string, string | undefined>} [query]
 */
export function go(parts, query) {
  location.hash = link(parts, query);
}

/**
 * Notes what a screen was narrowed to in the address, without going anywhere.
 *
 * @param {Record<string, string | undefined>} query
 */
export function note(query) {
  const { name, rest } = here();
  history.replaceState(null, "", link([name, ...rest], query));
}
