"""SQL to one server: connections whose every call has a timeout.

What belongs here: the driver, behind two small protocols, and its errors as `SqlError`. What does not: which
statements are sent (`observe`, `execute`, `accounts`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from operatorkit.errors import OperatorKitError

__all__ = ["Asyncmy", "Connector", "Login", "Row", "Session", "SqlError", "quoted", "text_of"]

Row = Mapping[str, Any]

_CLIENT_ERRORS = range(2000, 3000)
"""Errors of the client, not of the server: a connection that broke, or could not be made."""


class SqlError(OperatorKitError):
    """A statement failed.

    `code` is the server's error number, 0 where there is none. `uncertain` says that the statement may have been
    executed, or may be executed later: its answer was lost. The session is closed then.
    """

    def __init__(self, message: str, *, code: int = 0, uncertain: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.uncertain = uncertain


@dataclass(frozen=True, slots=True)
class Login:
    """An address, and the account to use there."""

    host: str
    port: int
    user: str
    password: str

    def __repr__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


class Session(Protocol):
    """One connection to a server. Not for two tasks at once."""

    @property
    def closed(self) -> bool:
        """Whether it cannot be used any more."""

    async def rows(self, statement: str, *values: object, seconds: float) -> list[Row]:
        """Send a statement and return its rows, none for one without a result. Raises SqlError.

        `%s` in the statement stands for a value, which is escaped. After a timeout the session is closed.
        """

    def close(self) -> None:
        """Close the connection at once, without a word to the server."""


class Connector(Protocol):
    """Opens sessions."""

    async def connect(self, login: Login, *, seconds: float) -> Session:
        """Return a session in autocommit mode. Raises SqlError."""


class Asyncmy:
    """Sessions of the driver asyncmy."""

    async def connect(self, login: Login, *, seconds: float) -> Session:
        """Return a session in autocommit mode. Raises SqlError."""
        from asyncmy.connection import Connection
        from asyncmy.errors import MySQLError

        made = Connection(  # type: ignore[no-untyped-call]
            host=login.host,
            port=login.port,
            user=login.user,
            password=login.password,
            autocommit=True,
            charset="utf8mb4",
            init_command="SET SESSION sql_notes = 0",  # the driver logs notes as warnings
            connect_timeout=max(1, round(seconds)),
        )
        try:
            async with asyncio.timeout(seconds):
                await made.connect()
        except TimeoutError as error:
            made.close()
            raise SqlError(f"{login!r}: no connection within {seconds:g} s") from error
        except (MySQLError, OSError, asyncio.IncompleteReadError) as error:
            made.close()
            raise _translated(f"{login!r}", error, sent=False) from error
        except BaseException:
            made.close()
            raise
        return _AsyncmySession(login, made)


class _AsyncmySession:
    def __init__(self, login: Login, made: Any) -> None:
        self._login = login
        self._made = made

    @property
    def closed(self) -> bool:
        return self._made is None

    async def rows(self, statement: str, *values: object, seconds: float) -> list[Row]:
        from asyncmy.cursors import DictCursor
        from asyncmy.errors import MySQLError

        where = f"{self._login!r}: {statement.split(maxsplit=1)[0]}"
        if self._made is None:
            raise SqlError(f"{where}: the connection is closed")
        try:
            async with asyncio.timeout(seconds), self._made.cursor(DictCursor) as cursor:
                await cursor.execute(statement, values or None)
                found = await cursor.fetchall() if cursor.description else ()
        except TimeoutError as error:
            self.close()
            raise SqlError(f"{where}: no answer within {seconds:g} s", uncertain=True) from error
        except (MySQLError, OSError, asyncio.IncompleteReadError, RuntimeError) as error:
            self._raise_if_cancelled(error)
            translated = _translated(where, error, sent=True)
            if translated.uncertain:
                self.close()
            raise translated from error
        except BaseException:
            self.close()
            raise
        return [cast("Row", row) for row in found]

    def _raise_if_cancelled(self, error: Exception) -> None:
        """Raise CancelledError where the task was cancelled.

        The driver closes its cursor then, in the middle of an answer: that fails, and its error would take
        the place of the cancellation.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            self.close()
            raise asyncio.CancelledError from error

    def close(self) -> None:
        if self._made is not None:
            made, self._made = self._made, None
            made.close()


def _translated(where: str, error: Exception, *, sent: bool) -> SqlError:
    arguments = error.args
    code = arguments[0] if arguments and isinstance(arguments[0], int) else 0
    message = " ".join(str(arguments[-1] if arguments else error).split()) or type(error).__name__
    broken = code == 0 or code in _CLIENT_ERRORS
    return SqlError(
        f"{where}: {message}" + (f" (error {code})" if code else ""),
        code=code,
        uncertain=sent and broken,
    )


def quoted(name: str) -> str:
    """Return a name as an identifier of a statement."""
    return "`" + name.replace("`", "``") + "`"


def text_of(value: object) -> str:
    """Return a value of a row as text, "" for NULL."""
    if value is None:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)
