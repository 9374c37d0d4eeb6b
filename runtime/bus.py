"""The bus as a driver holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from llmgine.actors.bus import (
    AskRefused,
    BatchPolicy,
    BreakerPolicy,
    BusFilter,
    Command,
    CommandResult,
    Event,
    Filter,
    InvalidOption,
    Middleware,
    Order,
    Overflow,
    Receipt,
    RetryPolicy,
    StoryLine,
    Subscription,
)
from llmgine.actors.store import StoreError
from llmgine.providers import InvalidRequest
from llmgine.runtime.checks import C, E, Handler, R, checked, checked_deadline
from llmgine.runtime.dead_letters import DeadLetters
from llmgine.runtime.deployments import Deployment, deploy
from llmgine.runtime.driver import Driver
from llmgine.runtime.schedules import Misfire, ScheduledEvent, Seconds

H = TypeVar("H")


class Bus:
    """`runtime.bus`: events to any number of handlers, commands to exactly one, wherever they run."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._client = driver.bus

    @property
    def dead_letters(self) -> DeadLetters:
        """What could not be handled: looked at, tried again, or thrown away."""
        return DeadLetters(self._client, self._driver.store)

    # Sending

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        """Returns once the event is admitted; with `wait`, once its own handlers are done."""
        return await self._client.publish(checked(event, "publish"), wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        """Its one handler's result; never raises what the handler raised.

        `deadline` is in seconds and spans waiting, running and trying again. A `durable` command is in
        the store before it is handed out, and outlives every process.
        """
        return await self._client.execute(
            checked(command, "execute"), durable=durable, deadline=checked_deadline(deadline)
        )

    async def schedule(
        self,
        event: Event,
        *,
        at: datetime | None = None,
        after: Seconds | None = None,
        every: Seconds | None = None,
        cron: str | None = None,
        zone: str | None = None,
        until: datetime | None = None,
        misfire: Misfire = "fire",
        id: str | None = None,
    ) -> ScheduledEvent:
        """Keeps the event in the store and publishes it when it is due; it is kept when this returns.

        `at` is one time, `after` and `every` are seconds, `cron` has five fields and is read in `zone`,
        an IANA name (UTC by default). `every` begins after its first interval, or as `at` or `after`
        says. What was due while nobody could publish it is published late, once, or left out with
        `misfire="skip"` where it is more than 5 s late. The same `id` again replaces the former one.
        Raises InvalidSchedule, or ScheduleRefused where the store does not take it.
        """
        return await self._driver.schedules.schedule(
            checked(event, "schedule"),
            at=at,
            after=after,
            every=every,
            cron=cron,
            zone=zone,
            until=until,
            misfire=misfire,
            id=id,
        )

    async def scheduled(self) -> list[ScheduledEvent]:
        """Everything that is kept for later, by the time at which it is due next."""
        return await self._driver.schedules.scheduled()

    # Handlers

    async def register_event_handler(
        self,
        event: type[E],
        handler: Handler,
        *,
        session_id: str | None = None,
        name: str | None = None,
        priority: int = 50,
        filter: Filter | None = None,
        overflow: Overflow = "block",
        coalesce_by: str | None = None,
        capacity: int | None = None,
        order: Order = "session",
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        batch: BatchPolicy | None = None,
        middleware: Sequence[Middleware] = (),
        durable: bool = False,
        concurrency: int | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Calls `handler(event)` or `handler(event, delivery)` here, for the class and its subclasses.

        It is registered when this returns; raises `RegistrationRefused` with the reason. A plain
        function runs in a thread, a coroutine function on this loop. What is left out comes from the
        settings of the bus.

        `session_id`: it hears that session's events only. `name`: by which another process can take it
        over; needed of a lambda, closure or method that is to be durable. `priority`: of the handlers of
        one event, the lower starts first. `filter`: which events reach it. `overflow`: what its full
        mailbox does, which holds `capacity` events; `coalesce_by` is a key of the metadata for
        "coalesce", besides session and class. `order`: "strict" keeps the order of the bus scope's
        events, too. `retry` and `breaker`: what follows a failure. `batch`: it is called with lists of
        events. `middleware`: wrapped around it, inside of the process's. `durable`: its events are in
        the store before they count as published, and wait for it while nobody serves it.
        `concurrency`: attempts at a time. `deadline`: seconds for one attempt.
        """
        return await self._client.register_event_handler(
            event,
            handler,
            session_id=session_id,
            name=name,
            priority=priority,
            filter=filter,
            overflow=overflow,
            coalesce_by=coalesce_by,
            capacity=capacity,
            order=order,
            retry=retry,
            breaker=breaker,
            batch=batch,
            middleware=middleware,
            durable=durable,
            concurrency=concurrency,
            deadline=deadline,
        )

    async def register_command_handler(
        self,
        command: type[C],
        handler: Handler,
        *,
        session_id: str | None = None,
        name: str | None = None,
        idempotent: bool = False,
        capacity: int | None = None,
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        middleware: Sequence[Middleware] = (),
        durable: bool = False,
        concurrency: int | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Lets `handler` answer commands of this class; a second one under another name is refused.

        `idempotent=True` allows running a command again: when the process that ran it died, and after a
        failure. Others are tried again only where a `retry` is given. A `durable` handler stays known
        while nobody serves it, and commands wait for it. The rest is as with event handlers.
        """
        return await self._client.register_command_handler(
            command,
            handler,
            session_id=session_id,
            name=name,
            idempotent=idempotent,
            capacity=capacity,
            retry=retry,
            breaker=breaker,
            middleware=middleware,
            durable=durable,
            concurrency=concurrency,
            deadline=deadline,
        )

    async def deploy(
        self,
        handler_class: type[H],
        *,
        replicas: int = 1,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        num_cpus: float = 0.0,
    ) -> Deployment:
        """Runs a class's marked methods (`@on`, `@answers`) in actors of their own, which share the sessions.

        Each replica constructs `handler_class(**arguments)` and needs so many CPUs of the cluster. The
        deployment lives as long as the runtime, whoever made it.
        """
        return await deploy(
            self._driver.control,
            handler_class,
            replicas=replicas,
            name=name,
            arguments=arguments,
            num_cpus=num_cpus,
            in_process=self._driver.in_process,
        )

    # Around handlers

    def add_middleware(self, middleware: Middleware) -> Callable[[], None]:
        """Wraps it around every handler of this process, inside of earlier ones; the answer removes it."""
        if not isinstance(middleware, Middleware):
            raise InvalidOption(f"add_middleware takes an instance of a Middleware, not {middleware!r}")
        return self._client.add_middleware(middleware)

    async def add_filter(self, filter: Filter) -> BusFilter:
        """Lets only events that pass it reach any handler, whoever publishes; it goes with this driver."""
        return await self._client.add_filter(filter)

    def add_observer(self, observer: Callable[[Event], Any]) -> Callable[[], None]:
        """Shows each event that this process publishes to a function, once; the answer removes it."""
        if not callable(observer):
            raise InvalidOption(f"add_observer takes a function of an event, not {observer!r}")
        return self._client.add_observer(observer)

    # What is going on

    async def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges of the bus, over all its routers.

        Counts since the router began: events_published_total, events_processed_total,
        events_failed_total, commands_sent_total, commands_processed_total, commands_failed_total,
        coalesced_total (copies that a newer event replaced), and more of that kind. Now: queue_size,
        in_flight, backpressure_active, dead_letter_queue_size, active_sessions, registered_handlers,
        circuit_breaker_state by handler where it is not closed. dead_letter_queue_size is None while the
        store is away. "per_handler" accounts for every message of each handler; "client" is this
        process's own.
        """
        try:
            letters = await self._driver.store.count_letters()
        except StoreError:
            letters = None
        return {**await self._client.statistics(), "dead_letter_queue_size": letters}

    async def story(
        self, *, handler: str | None = None, session: str | None = None, event: str | None = None
    ) -> list[StoryLine]:
        """Why something was not handled: what happened to one handler, session or event, the oldest first.

        `event` is the id of an event or command. Only what is remarkable is told, and not for ever (bus
        options story and stories).
        """
        about = {"handler": handler, "session": session, "event": event}
        given = {key: value for key, value in about.items() if value is not None}
        if len(given) != 1:
            raise InvalidRequest("a story is of one handler, one session or one event: name exactly one")
        try:
            return await self._client.story(given)
        except AskRefused as error:
            raise InvalidRequest(error.text) from None
