"""What lies between the driver and the shards that train on a Ray cluster."""

from __future__ import annotations

import asyncio
import contextlib

from robustpo.execution.worker_process import Event


class Mailbox:
    """An actor that holds what the shards say until the driver has heard it, and stops them.

    A generator's results would not do: when Ray tries a task again it takes the first results of
    the second attempt for those of the first, and a shard that goes on does not say the same again.

    Args:
        count: number of shards.
    """

    def __init__(self, count: int) -> None:
        self._events: list[tuple[int, Event]] = []
        self._dropped = 0
        self._news = asyncio.Event()
        self._attempts = [0] * count
        self._enough = [asyncio.Event() for _ in range(count)]
        self._training: set[int] = set()
        self._stopped = False

    async def begin(self, shard: int) -> int | None:
        """Return the number of a new attempt; None if nothing is to begin any more."""
        if self._stopped:
            return None
        # An attempt that was only thought to have died ends now and is not heard any more.
        self._enough[shard].set()
        self._enough[shard] = asyncio.Event()
        self._attempts[shard] += 1
        self._training.add(shard)
        return self._attempts[shard]

    async def say(self, shard: int, attempt: int, events: list[Event]) -> None:
        """Take in events of a shard's newest attempt."""
        if attempt == self._attempts[shard]:
            self._events += [(shard, event) for event in events]
            self._news.set()

    async def enough(self, shard: int, attempt: int) -> bool:
        """Wait until an attempt shall end, or has ended; return whether another has replaced it."""
        if attempt == self._attempts[shard]:
            await self._enough[shard].wait()
        return attempt != self._attempts[shard]

    async def end(self, shard: int, attempt: int) -> None:
        """Take in that an attempt has ended."""
        if attempt == self._attempts[shard]:
            self._training.discard(shard)
            self._enough[shard].set()

    async def stop(self) -> set[int]:
        """Stop everything in order; return the shards that are being trained."""
        self._stopped = True
        for event in self._enough:
            event.set()
        return set(self._training)

    async def listen(self, heard: int) -> list[tuple[int, Event]]:
        """Wait briefly for news; return all events but the first `heard`, which are forgotten."""
        del self._events[: heard - self._dropped]
        self._dropped = heard
        self._news.clear()
        if not self._events:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 0.2)
        return list(self._events)
