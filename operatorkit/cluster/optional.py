"""An informer of a kind that may not be served: its definition comes and goes while the operator runs.

What belongs here: a kind that is not served has no objects, and that is no failure. What does not: following a kind
that is served (`informer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operatorkit.cluster.informer import Informer
from operatorkit.errors import NoKindMatch, NotFound

__all__ = ["OptionalInformer"]


class OptionalInformer(Informer):
    """Follows a kind while it is served, and looks for it again and again while it is not, at most every 30 seconds.

    While the kind is not served, the cache is empty and counts as synced: objects that were there come as DELETED.
    `on_served` is called when that changes, with whether the kind is served then.
    """

    def __init__(
        self, *args: Any, on_served: Callable[[bool], None] = lambda _: None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.served: bool | None = None
        self._on_served = on_served

    async def _list_pages(self, limit: int | None) -> int:
        epoch = await super()._list_pages(limit)
        self._note(True)
        return epoch

    async def _follow(self) -> None:
        try:
            await super()._follow()
        except (NoKindMatch, NotFound):
            self._notify(self.cache.sweep(set(), ""))
            self._answered()
            self._must_list = True
            self._synced.set()
            self._signal()
            self._history.listed(self, self._history.epoch)
            self._note(False)

    def _note(self, served: bool) -> None:
        before, self.served = self.served, served
        if before is not None and before != served:
            self._on_served(served)
