/** Which model? */

import { send } from "./api.js";
import { h } from "./dom.js";
import { ask } from "./overlay.js";

/**
 * The model that is chosen for a replay, or "" where it is left.
 *
 * @param {string} present the one that the session has
 */
export async function chooseModel(present) {
  const field = {
    class: "field",
    name: "model",
    required: true,
    list: "models",
    spellcheck: "false",
    autocomplete: "off",
    placeholder: present,
  };
  const options = (await known()).map((id) => h("option", { value: id }));
  const values = await ask({
    title: "Replay the turn with another model",
    content: [
      h(
        "p",
        { class: "aside" },
        "What was said before it goes into a new session, where the turn is asked again. This session stays as it is.",
      ),
      h("label", { class: "labelled" }, "Model", h("input", field)),
      h("datalist", { id: "models" }, options),
    ],
    action: "Replay",
  });
  return values?.model ?? "";
}

/**
 * The names of models, to choose from; any other may be typed.
 *
 * @returns {Promise<string[]>}
 */
async function known() {
  try {
    const told = await (await send("GET", "v1/models")).json();
    return told.data.map((/** @type {{id: string}} */ one) => one.id);
  } catch {
    return [];
  }
}
