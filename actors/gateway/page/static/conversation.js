/** Messages as people read them: texts, thoughts, calls of tools and what came of them. */

import { h } from "./dom.js";
import { json } from "./format.js";

/** @typedef {import("./dom.js").Child} Child */

const SPEAKERS = { user: "User", assistant: "Assistant", system: "System", tool: "Tool" };

/**
 * @param {{number: number, role: string, parts: any[]}} message
 * @param {Child} [tools] beside the speaker's name
 */
export function message({ number, role, parts }, tools) {
  const model = role === "assistant" && parts.map((part) => part.origin?.model).find(Boolean);
  return h(
    "li",
    { key: number, class: `message ${role}` },
    h(
      "div",
      { class: "speaker" },
      h("strong", null, /** @type {Record<string, string>} */ (SPEAKERS)[role] ?? role),
      model && h("span", { class: "aside" }, model),
      tools,
    ),
    parts.map((part, at) => drawPart(part, at)),
  );
}

/**
 * @param {any} part
 * @param {number} at
 * @returns {Child}
 */
function drawPart(part, at) {
  switch (part.type) {
    case "text":
      return h("div", { key: at, class: "said" }, part.text);
    case "refusal":
      return h("div", { key: at, class: "said bad-text" }, part.text);
    case "thinking":
      return h(
        "details",
        { key: at, class: "folded" },
        h("summary", null, "Thinking"),
        h("div", { class: "said aside" }, part.text || "The provider keeps it to itself."),
      );
    case "tool_call":
      return h(
        "details",
        { key: at, class: "folded call" },
        h(
          "summary",
          null,
          "Calls ",
          h("code", null, part.name),
          h(
            "span",
            { class: "aside cut mono" },
            ` ${json(part.arguments ?? part.raw_arguments).replace(/\s+/g, " ")}`,
          ),
        ),
        h("pre", { class: "block" }, json(part.arguments ?? part.raw_arguments)),
      );
    case "tool_result":
      return h(
        "details",
        { key: at, class: `folded ${part.is_error ? "failed" : ""}` },
        h(
          "summary",
          null,
          part.is_error ? "Failed: " : "Result of ",
          h("code", null, part.name || part.call_id),
          h("span", { class: "aside cut" }, ` ${textOf(part.content)}`),
        ),
        h("pre", { class: "block" }, textOf(part.content)),
      );
    case "image":
    case "audio":
    case "document":
      return h("div", { key: at, class: "chip bare" }, `${part.type}, ${part.media_type}`);
    default:
      return h(
        "details",
        { key: at, class: "folded" },
        h("summary", null, part.kind ?? part.type),
        h("pre", { class: "block" }, json(part)),
      );
  }
}

/**
 * @param {any[]} content
 * @returns {string}
 */
export function textOf(content) {
  return content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("");
}
