"""What client and router say to each other on a stream of kind "bus".

Each side numbers its messages from 1 and sends `[number, code, …]`: what is missing, doubled or out of
its place shows, and the stream is given up before anybody acts on it. Below, the number is left out.

Every message is a list that begins with its code. A *run* is a row of messages of one producer and
session with consecutive sequences and one class, which share one head; bodies stay opaque to the
router. A *range* `first, last` includes both ends.

Client to router; the stream's header is the hello
  hello       {client, epoch, incarnation, lines: [[session, floor, last]], subscriptions: [number],
              member_of: name}
              `lines` are what this client has sent and not seen settled, `incarnation` whom it was sent to,
              `member_of` the deployment whose subscriptions it serves beside others, or ""
  PUBLISH     [runs]           run: [session, lineage, first, floor, depth, flags, extra, bodies]
  DONE        [ranges]         [subscription, first, last]: handled
  OUTCOME     [outcomes]       [subscription, entry, code, wire]: all that is more than handled
  ATTACH      [numbers]        subscriptions that this client is ready to serve; an empty list: it serves
                               none any more, and what it has not started comes back RETURNED
  CONFIRM     [[session, sequence]]    results that have arrived
  CANCEL      [session, sequence]      nobody waits for this command any more
  FORGET      [sessions]       lines that are settled and idle
  ASK         [id, verb, body]         what only the router knows or does; see `service`

Router to client
  WELCOME     [incarnation, serial, [[session, received]]]    first of all; None where it knows none
  ADMITTED    [[session, first, last, refused, deferred]], serial
  SETTLED     [[session, first, last]]
  RESULT      [[session, sequence, wire]]
  DELIVER     [runs, deliveries]
              run: [producer, epoch, session, lineage, first, floor, depth, flags, extra, bodies]
              delivery: [subscription, first entry, index, count, attempt, redelivered, reentrant, missed]
              `index` counts the messages of all runs in this DELIVER from 0; `missed` is how many messages
              this subscription has lost to its full mailbox since the delivery before; attempt 0 asks who
              knows this command to say what came of it, and anybody else to give it back
  ATTACHED    [numbers], serial
  LOST        [numbers]        subscriptions that another client took over, or that were removed
  ABORT       [subscription, entry]    cancel this delivery if it still runs
  RESUME      [subscription, entry, recall]    the verdict on a FAILED outcome
  ANSWER      [id, answered, body]     of an ASK; `body` is [kind, text] where it was refused

A handler whose attempt has FAILED starts nothing more until the verdict: it runs on (KEEP), first gives
back what has not started of the failed message's lane (LANE: that message will be tried again, and those
behind it wait) or of the whole subscription (ALL: its breaker has opened). What is given back is RETURNED,
entry by entry in order, and takes up no attempt; RETURNED of the failed entry itself ends it. FAILED is
final for the router where its reason is. RESUME of entry 0 is no verdict: the breaker of a subscription
with several members has opened through another one.

`floor` is the producer's lowest sequence of that session that is not settled. `extra` is None or
`{"chain": [[subscription, session]], "turns": [session], "since": serial, "deadline": seconds}`, each key
optional; `turns` are the sessions of which a turn waits for the outcome.
"""

from __future__ import annotations

from typing import Any, Final

PUBLISH: Final = 1
DONE: Final = 2
OUTCOME: Final = 3
ATTACH: Final = 4
CONFIRM: Final = 5
CANCEL: Final = 6
ASK: Final = 7
FORGET: Final = 8

WELCOME: Final = 21
ADMITTED: Final = 22
SETTLED: Final = 23
RESULT: Final = 24
DELIVER: Final = 25
ATTACHED: Final = 26
LOST: Final = 27
ABORT: Final = 28
RESUME: Final = 29
ANSWER: Final = 30

STREAM: Final = "bus"

# Flags of a run.
COMMAND: Final = 1
WAIT: Final = 2
AGAIN: Final = 4  # sent before to another life of the router
VOID: Final = 8  # given up before it was sent; only its place in the row is left
DURABLE: Final = 16  # a command that shall outlive every process
PROMISED: Final = 32  # that other life has said that it was admitted
TRACED: Final = 64  # its messages have spans

# What a verdict takes back.
KEEP: Final = 0
LANE: Final = 1
ALL: Final = 2

# Codes of an outcome.
FAILED: Final = 0  # [reason, kind, text, attempt, duration, retryable]
VALUE: Final = 1  # a command's result: [success, value, kind, text, retryable, attempts, duration]
HANDLED: Final = 2  # of an event that is waited for, or was slow: [attempts, duration]
DISCARDED: Final = 3  # the subscription went before the handler was called: None
RETURNED: Final = 4  # given back before the handler was called, after a verdict: None

# A message is cut where it reaches either.
BATCH_EVENTS: Final = 512
BATCH_BYTES: Final = 512 << 10


def failed_answer(
    kind: str, text: str, *, retryable: bool = False, attempts: int = 0, duration: float = 0.0
) -> list[Any]:
    """A command's failure in wire form."""
    return [False, None, kind, text, retryable, attempts, duration]
