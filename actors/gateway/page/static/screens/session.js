/** One session: its conversation beside its spans, both live; ask, or ask a turn again of another model. */

import { get } from "../api.js";
import { message, textOf } from "../conversation.js";
import { h } from "../dom.js";
import { ago, count, money, plural } from "../format.js";
import { icon } from "../icons.js";
import { chooseModel } from "../models.js";
import { ask, empty, problem } from "../overlay.js";
import { go, link } from "../router.js";
import { paced } from "../scope.js";
import { RunningTurn, turnIn } from "../turns.js";
import { WaterfallView } from "../waterfall.js";
import { body, chip, head, strip, tokens, usage } from "./parts.js";

const PAGE = 500;
const GAP = 400;
const NEAR_END = 80;

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
    this.turn = null;
    this.waterfall = new WaterfallView(
      app,
      scope,
      "Spans show up with the session's next turn where telemetry is on; it keeps only the latest.",
    );
    this.refresh = paced(() => this.#load(), GAP);
    scope.watch(`session:${this.id}`, (detail) => {
      this.detail = detail;
      this.refresh();
    });
    this.refresh();
    const turn = turnIn(this.id);
    if (turn) this.#follow(turn);
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
    const { turn } = this;
    // Once a turn has failed, what is kept of it, or was said after it, goes before what was heard of it.
    const gone = turn?.failure && this.messages.some((one) => one.number >= turn.from);
    const drawn = gone ? null : turn;
    const told = drawn ? this.messages.filter((one) => one.number < drawn.from) : this.messages;
    const quiet = this.loaded && !told.length && !turn;
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
          told.map((one) => message(one, this.#turnTools(one))),
          drawn?.draw(),
        ),
        turn?.failure && problem(turn.failure),
      ),
      this.#composer(),
    );
  }

  /** @param {any} one */
  #turnTools(one) {
    if (!one.turn) return null;
    const known = this.detail?.newest_turns.find((/** @type {any} */ turn) => turn.id === one.turn);
    return h(
      "span",
      { class: "turn-tools push" },
      known?.trace &&
        h("a", { class: "button plain small", href: link(["trace", known.trace]) }, icon("traces"), "Trace"),
      one.role === "user" &&
        h(
          "button",
          {
            class: "button plain small",
            onclick: () => this.#replay(one),
            "aria-label": `Replay the turn of message ${one.number} with another model`,
          },
          icon("branch"),
          "Replay with …",
        ),
    );
  }

  #composer() {
    const { turn } = this;
    const busy = turn !== null && !turn.over;
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
      busy
        ? h(
            "button",
            { key: "stop", class: "button", type: "button", onclick: () => turn.stop() },
            icon("cross"),
            "Stop",
          )
        : h("button", { key: "send", class: "button main", type: "submit" }, icon("send"), "Send"),
    );
  }

  async #load() {
    await this.scope.load(async () => {
      const { signal } = this.scope;
      const [detail] = await Promise.all([get(["sessions", this.id], {}, signal), this.#loadMessages()]);
      this.detail = detail;
      this.loaded = true;
      if (this.turn?.over && !this.turn.failure) this.turn = null;
      // Last, for telemetry may be away.
      this.waterfall.set(await get(["sessions", this.id, "waterfall"], {}, signal));
    });
  }

  /** What was said since; earlier messages stay as they are. */
  async #loadMessages() {
    let cursor = this.lastPage;
    const atEnd = nearEnd();
    do {
      const page = await get(["sessions", this.id, "messages"], { cursor, limit: PAGE }, this.scope.signal);
      const first = page.items[0]?.number ?? (cursor === null ? 0 : Infinity);
      this.messages = [...this.messages.filter((one) => one.number < first), ...page.items];
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
    const turn = new RunningTurn(this.id, prompt, this.messages.length);
    if (!(await turn.begin(["sessions", this.id, "turns"], { prompt }))) return;
    form.reset();
    this.#follow(turn);
  };

  /** What begins the turn of one message goes to another model. @param {any} one */
  async #replay(one) {
    const model = await chooseModel(this.detail?.model ?? "");
    if (!model) return;
    const turn = new RunningTurn("", textOf(one.parts), one.number);
    const body = { turn_id: one.turn, model };
    await turn.begin(["sessions", this.id, "replay"], body, (session) => go(["session", session]));
  }

  /** Shows a turn as it runs. @param {RunningTurn} turn */
  #follow(turn) {
    this.turn = turn;
    turn.changed = () => {
      this.#changed();
      if (turn.over && !this.scope.over) this.refresh();
    };
    turn.changed();
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
