/**
 * A tree of plain objects, drawn into the document with as few changes as it takes.
 *
 * Data only ever becomes text nodes and attribute values, never markup. Nodes that stay keep their
 * focus, selection and scroll position. An island is a node that somebody else draws into.
 */

/** @typedef {{tag: string, key: unknown, props: Record<string, any>, children: VNode[], island?: Element}} VElement */
/** @typedef {VElement | string} VNode */
/** @typedef {VNode | number | null | undefined | false | Child[]} Child */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected", "indeterminate"]);

/** @type {WeakMap<Node, VElement>} */
const drawn = new WeakMap();

/**
 * One element. `on…` are handlers, `style` an object, `key` tells it from its siblings, `ref` gets the node.
 *
 * @param {string} tag
 * @param {Record<string, any> | null} [props]
 * @param {...Child} children
 * @returns {VElement}
 */
export function h(tag, props, ...children) {
  const { key, ...rest } = props ?? {};
  return { tag, key, props: rest, children: flat(children, []) };
}

/**
 * An existing node that keeps its own children.
 *
 * @param {Element} node
 * @returns {VElement}
 */
export function island(node) {
  return { tag: "", key: node, props: {}, children: [], island: node };
}

/**
 * Makes the children of `parent` what `children` say.
 *
 * @param {Element} parent
 * @param {...Child} children
 */
export function render(parent, ...children) {
  patchChildren(parent, flat(children, []));
}

/**
 * @param {Child[]} children
 * @param {VNode[]} into
 * @returns {VNode[]}
 */
function flat(children, into) {
  for (const child of children) {
    if (Array.isArray(child)) flat(child, into);
    else if (child === null || child === undefined || child === false) continue;
    else into.push(typeof child === "number" ? String(child) : child);
  }
  return into;
}

/**
 * @param {Element} parent
 * @param {VNode[]} wanted
 */
function patchChildren(parent, wanted) {
  const old = [...parent.childNodes];
  const keyed = new Map(old.map((node) => [drawn.get(node)?.key, node]));
  /** @type {Set<Node>} */
  const used = new Set();
  let next = 0;
  wanted.forEach((vnode, index) => {
    let node = null;
    if (typeof vnode !== "string" && vnode.island) node = vnode.island;
    else if (typeof vnode !== "string" && vnode.key !== undefined) {
      const found = keyed.get(vnode.key);
      if (found && matches(found, vnode)) node = found;
    } else {
      while (next < old.length && (used.has(old[next]) || isKeyed(old[next]))) next += 1;
      if (next < old.length && matches(old[next], vnode)) node = old[next++];
    }
    if (node && !used.has(node)) patch(node, vnode);
    else node = create(vnode, parent);
    used.add(node);
    const there = parent.childNodes[index];
    if (there !== node) {
      // What goes in any case goes first, so that nodes which stay are not moved.
      if (there && !used.has(there) && !stays(there, wanted)) parent.replaceChild(node, there);
      else parent.insertBefore(node, there ?? null);
    }
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild?.remove();
}

/** @param {Node} node */
const isKeyed = (node) => drawn.get(node)?.key !== undefined;

/**
 * @param {Node} node
 * @param {VNode[]} wanted
 */
function stays(node, wanted) {
  const key = drawn.get(node)?.key;
  return key === undefined || wanted.some((vnode) => typeof vnode !== "string" && vnode.key === key);
}

/**
 * @param {Node} node
 * @param {VNode} vnode
 */
function matches(node, vnode) {
  if (typeof vnode === "string") return node.nodeType === Node.TEXT_NODE;
  return drawn.get(node)?.tag === vnode.tag;
}

/**
 * @param {VNode} vnode
 * @param {Element} parent
 * @returns {Node}
 */
function create(vnode, parent) {
  if (typeof vnode === "string") return document.createTextNode(vnode);
  const within = parent.namespaceURI === SVG && parent.tagName !== "foreignObject";
  const node =
    vnode.tag === "svg" || within
      ? document.createElementNS(SVG, vnode.tag)
      : document.createElement(vnode.tag);
  patch(node, vnode);
  return node;
}

/**
 * @param {Node} node
 * @param {VNode} vnode
 */
function patch(node, vnode) {
  if (typeof vnode === "string") {
    if (node.nodeValue !== vnode) node.nodeValue = vnode;
    return;
  }
  const before = drawn.get(node);
  drawn.set(node, vnode);
  if (vnode.island) return;
  const element = /** @type {HTMLElement} */ (node);
  for (const name of Object.keys(before?.props ?? {})) {
    if (!(name in vnode.props)) set(element, name, undefined, before?.props[name]);
  }
  patchChildren(element, vnode.children);
  for (const [name, value] of Object.entries(vnode.props)) {
    if (value !== before?.props[name] || name === "style") set(element, name, value, before?.props[name]);
  }
  if (!before) vnode.props.ref?.(element);
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {any} value
 * @param {any} before
 */
function set(element, name, value, before) {
  if (name === "ref") return;
  if (name.startsWith("on")) {
    const type = name.slice(2).toLowerCase();
    if (before) element.removeEventListener(type, before);
    if (value) element.addEventListener(type, value);
  } else if (name === "style") {
    for (const [property, one] of Object.entries(value ?? {})) {
      if (one !== before?.[property]) element.style.setProperty(property, one);
    }
  } else if (PROPERTIES.has(name)) {
    /** @type {any} */ (element)[name] = value ?? (name === "value" ? "" : false);
  } else if (value === undefined || value === null || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}
