/** Turns that this page has begun; they go on whichever screen is shown. */

import { streamed } from "./api.js";
import { message } from "./conversation.js";
import { h } from "./dom.js";
import { attempt } from "./overlay.js";
import { events } from "./sse.js";

/** @type {Map<string, RunningTurn>} by the session that they run in */
const underWay = new Map();

/**
 * @param {string} session
 * @returns {RunningTurn | null}
 */
export function turnIn(session) {
  return underWay.get(session) ?? null;
}

/** A turn, put together from its events. */
export class RunningTurn {
  /**
   * @param {string} session empty until a fork's is known
   * @param {string} prompt
   * @param {number} from the number of its first message; the session tells the same from there on
   */
  constructor(session, prompt, from) {
    this.session = session;
    this.prompt = prompt;
    this.from = from;
    /** @type {any[]} */
    this.parts = [];
    this.step = 0;
    this.waiting = "";
    /** @type {{message: string, hint: string} | null} */
    this.failure = null;
    this.over = false;
    /** @type {(() => void) | null} whoever shows it */
    this.changed = null;
    this.stopping = new AbortController();
  }

  /**
   * Asks; whether it was taken on.
   *
   * @param {string[]} parts of the address
   * @param {unknown} body
   * @param {(session: string) => void} [forked]
   */
  async begin(parts, body, forked) {
    const response = await attempt(() => streamed(parts, body, this.stopping.signal));
    if (!response) return false;
    if (this.session) underWay.set(this.session, this);
    this.#read(response, forked);
    return true;
  }

  /** The runtime cancels a turn whose asker is gone. */
  stop() {
    this.stopping.abort();
  }

  /**
   * @param {Response} response
   * @param {(session: string) => void} [forked]
   */
  async #read(response, forked) {
    try {
      for await (const event of events(response)) {
        if (!event) continue;
        this.learn(event);
        if (event.event === "fork") {
          underWay.set(this.session, this);
          forked?.(this.session);
        }
        this.changed?.();
      }
    } catch {
      // What is said below.
    }
    if (this.stopping.signal.aborted) this.failure = { message: "The turn was stopped.", hint: "" };
    else if (!this.over)
      this.failure = { message: "The answer broke off.", hint: "The turn may go on; its session shows it." };
    this.over = true;
    underWay.delete(this.session);
    this.changed?.();
  }

  /** @param {{event: string, data: any}} event */
  learn({ event, data }) {
    if (event === "fork") this.session = data.session;
    else if (event === "step_started") this.step = data.step;
    else if (event === "text_delta") this.#grow("text", data);
    else if (event === "thinking_delta") this.#grow("thinking", data);
    else if (event === "reset")
      this.parts = this.parts.filter((part) => part.step !== this.step || !part.streamed);
    else if (event === "turn_reset") this.parts = [];
    else if (event === "tool_called") this.parts.push({ ...data.call, step: this.step });
    else if (event === "tool_returned") this.parts.push({ ...data.result, step: this.step });
    else if (event === "approval_needed") this.waiting = data.call.name;
    else if (event === "approval_settled") this.waiting = "";
    else if (event === "error") this.failure = data.error;
    if (event === "done" || event === "error") this.over = true;
  }

  /** @param {"text" | "thinking"} type @param {any} data */
  #grow(type, data) {
    const known = this.parts.find(
      (part) => part.streamed && part.step === this.step && part.index === data.index,
    );
    if (known) known.text += data.text;
    else this.parts.push({ type, text: data.text, index: data.index, step: this.step, streamed: true });
  }

  draw() {
    const state = this.waiting ? `${this.waiting} waits for approval` : "answering";
    return [
      message({ number: -2, role: "user", parts: [{ type: "text", text: this.prompt }] }),
      message(
        { number: -1, role: "assistant", parts: this.parts },
        !this.over && h("span", { class: "chip run" }, state),
      ),
    ];
  }
}
