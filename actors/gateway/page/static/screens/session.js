/** One session: its conversation beside its spans, both live; ask, or ask a turn again of another model. */

import { get, send, streamed } from "../api.js";
import { message, RunningTurn } from "../conversation.js";
import { h } from "../dom.js";
import { ago, count, money, plural } from "../format.js";
import { icon } from "../icons.js";
import { ask, attempt, empty } from "../overlay.js";
import { go, link } from "../router.js";
import { paced } from "../scope.js";
import { events } from "../sse.js";
import { WaterfallView } from "../waterfall.js";
import { body, chip, head, strip, tokens, usage } from "./parts.js";

const PAGE = 500;
const GAP = 400;
const NEAR_END = 80;

/** Turns that a replay began: its screen is another one, which shows the turn on. @type {Map<string, RunningTurn>} */
const underWay = new Map();

export class Session {
  static parent = "sessions";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.id = place.rest[0] ?? "";
    this.title = this.id;
    this.keys = {
      c: /** @type {[string, () => void]} */ ([
        "Write to the session",
        () => document.getElementById("prompt")?.focus(),
      ]),
    };
    /** @type {any} */
    this.detail = null;
    /** @type {any[]} */
    this.messages = [];
    /** @type {string | null} */
    this.lastPage = null;
    this.loaded = false;
    /** @type {RunningTurn | null} */
    this.turn = underWay.get(this.id) ?? null;
    this.view = "both";
    this.waterfall = new WaterfallView(
      app,
      scope,
      "Spans show up with the session's next turn; telemetry keeps only the latest.",
    );
    this.refresh = paced(() => this.#load(), GAP);
    scope.watch(`session:${this.id}`, (detail) => {
      this.detail = detail;
      this.refresh();
    });
    this.refresh();
    if (this.turn) this.#follow(this.turn);
  }

  draw() {
    const { detail } = this;
    return [
      head(
        [
          h(
            "a",
            { class: "button plain small square", href: link(["sessions"]), "aria-label": "All sessions" },
            icon("back"),
          ),
          h("span", { class: "cut mono" }, this.id),
          detail && chip(detail.pending ? "running" : detail.state),
        ],
        detail?.parent && ["Asked by ", h("a", { href: link(["session", detail.parent]) }, detail.parent)],
        h("button", { class: "button", onclick: this.#showUsage, disabled: !detail }, icon("cost"), "Usage"),
        h("a", { class: "button", href: link(["traces"], { session: this.id }) }, icon("traces"), "Traces"),
      ),
      body(
        this.scope,
        true,
        detail &&
          strip([
            ["Model", detail.model || "–"],
            ["Turns", count(detail.turns)],
            ["Messages", count(detail.messages)],
            ["Tokens", tokens(detail.tokens)],
            ["Cost", money(detail.cost)],
            ["Active", ago(detail.active)],
          ]),
        h(
          "div",
          { class: "pair" },
          this.#conversation(),
          h(
            "section",
            { class: "side-by", "aria-label": "Waterfall" },
            h("div", { class: "row" }, h("h2", null, "Waterfall"), this.waterfall.tools()),
            this.waterfall.draw(),
          ),
        ),
      ),
    ];
  }

  #conversation() {
    const quiet = this.loaded && !this.messages.length && !this.turn;
    return h(
      "section",
      { class: "card conversation", "aria-label": "Conversation" },
      h(
        "div",
        {
          class: "said-scroll",
          id: "said",
          tabindex: "0",
          role: "log",
          "aria-label": "Messages",
          "aria-live": "off",
        },
        quiet && empty("sessions", "Nothing has been said yet", "Write below, or ask it from a driver."),
        h(
          "ol",
          null,
          this.messages.map((one) => message(one, this.#replayTool(one))),
          this.turn?.draw(),
        ),
        this.turn?.failure &&
          h(
            "div",
            { class: "problem", role: "alert" },
            h("div", null, this.turn.failure.message, h("div", { class: "aside" }, this.turn.failure.hint)),
          ),
      ),
      this.#composer(),
    );
  }

  /** @param {any} one */
  #replayTool(one) {
    return (
      one.role === "user" &&
      one.turn &&
      h(
        "button",
        {
          class: "button plain small push replay",
          onclick: () => this.#replay(one.turn),
          "aria-label": `Replay the turn of message ${one.number} with another model`,
        },
        icon("branch"),
        "Replay with …",
      )
    );
  }

  #composer() {
    const busy = this.turn !== null && !this.turn.over;
    return h(
      "form",
      { class: "composer", onsubmit: this.#send },
      h("textarea", {
        class: "field",
        id: "prompt",
        name: "prompt",
        rows: 2,
        "aria-label": "Message to the session",
        placeholder: "Message to the session",
        onkeydown: sendOnEnter,
      }),
      h("button", { class: "button main", type: "submit", disabled: busy }, icon("send"), "Send"),
    );
  }

  async #load() {
    await this.scope.load(async () => {
      const { signal } = this.scope;
      const [detail, spans] = await Promise.all([
        get(["sessions", this.id], {}, signal),
        get(["sessions", this.id, "waterfall"], {}, signal),
        this.#loadMessages(),
      ]);
      this.detail = detail;
      this.waterfall.set(spans);
      this.loaded = true;
      if (this.turn?.over && !this.turn.failure) this.turn = null;
    });
  }

  /** What was said since; earlier messages stay as they are. */
  async #loadMessages() {
    let cursor = this.lastPage;
    const atEnd = nearEnd();
    do {
      const page = await get(["sessions", this.id, "messages"], { cursor, limit: PAGE }, this.scope.signal);
      if (page.items.length) {
        const first = page.items[0].number;
        this.messages = [...this.messages.filter((one) => one.number < first), ...page.items];
      }
      this.lastPage = cursor;
      cursor = page.next;
    } while (cursor !== null);
    if (atEnd) toEnd();
  }

  #send = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const prompt = String(new FormData(form).get("prompt")).trim();
    if (!prompt || (this.turn && !this.turn.over)) return;
    const turn = new RunningTurn(prompt);
    const response = await attempt(() => streamed(["sessions", this.id, "turns"], { prompt }));
    if (!response) return;
    form.reset();
    this.turn = turn;
    await this.#read(turn, response);
  };

  /** @param {string} turnId */
  async #replay(turnId) {
    const models = await known();
    const values = await ask({
      title: "Replay the turn with another model",
      content: [
        h(
          "p",
          { class: "aside" },
          "What was said before it goes into a new session, where the turn is asked again. This session stays as it is.",
        ),
        h(
          "label",
          { class: "labelled" },
          "Model",
          h("input", {
            class: "field",
            name: "model",
            required: true,
            list: "models",
            spellcheck: "false",
            autocomplete: "off",
            placeholder: this.detail?.model,
          }),
        ),
        h(
          "datalist",
          { id: "models" },
          models.map((id) => h("option", { value: id })),
        ),
      ],
      action: "Replay",
    });
    if (!values) return;
    const response = await attempt(() =>
      streamed(["sessions", this.id, "replay"], { turn_id: turnId, model: values.model }),
    );
    if (!response) return;
    const turn = new RunningTurn("");
    await this.#read(turn, response);
  }

  /**
   * Shows a turn as it runs; of a replay the fork's screen does.
   *
   * @param {RunningTurn} turn
   * @param {Response} response
   */
  async #read(turn, response) {
    for await (const event of events(response)) {
      if (!event) continue;
      turn.learn(event);
      if (event.event === "fork") {
        underWay.set(turn.session, turn);
        go(["session", turn.session]);
      }
      turn.changed?.();
      if (!turn.session) this.#changed();
    }
    turn.over = true;
    underWay.delete(turn.session);
    turn.changed?.();
    if (!turn.session) this.refresh();
  }

  /** @param {RunningTurn} turn */
  #follow(turn) {
    turn.changed = () => {
      this.#changed();
      if (turn.over) this.refresh();
    };
  }

  #changed() {
    if (this.scope.over) return;
    if (nearEnd()) toEnd();
    this.app.redraw();
  }

  #showUsage = () => {
    const rows = this.detail.usage.map((/** @type {any} */ row) => ({ ...row, key: row.model }));
    ask({
      title: "What the session has used",
      wide: true,
      content: rows.length
        ? usage("Model", rows)
        : h(
            "p",
            { class: "aside" },
            `Telemetry keeps nothing of it; it has ${plural(this.detail.turns, "turn")}.`,
          ),
    });
  };
}

/** @param {KeyboardEvent} event */
function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  /** @type {HTMLTextAreaElement} */ (event.target).form?.requestSubmit();
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

function nearEnd() {
  const said = document.getElementById("said");
  return !said || said.scrollHeight - said.scrollTop - said.clientHeight < NEAR_END;
}

/** Once what is new has been drawn. */
function toEnd() {
  setTimeout(() =>
    requestAnimationFrame(() => {
      const said = document.getElementById("said");
      if (said) said.scrollTop = said.scrollHeight;
    }),
  );
}
