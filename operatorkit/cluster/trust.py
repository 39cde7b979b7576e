"""The authorities that a client trusts, read again when their file is replaced.

What belongs here: an SSL context that follows a file. What does not: where the file is
(`operatorkit.cluster.config`), and when to look (`operatorkit.cluster._session`).
"""

from __future__ import annotations

import logging
import ssl
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

__all__ = ["FollowingContext"]

_log = logging.getLogger("operatorkit.cluster")


class FollowingContext(ssl.SSLContext):
    """An SSL context for clients that trusts the authorities in `path`, as they are when it was last read.

    `make` builds a plain context from the path of a file of authorities. Connections that are open
    stay open; what is no longer in the file is no longer trusted by new ones.
    """

    def __new__(cls, path: Path, make: Callable[[str], ssl.SSLContext]) -> Self:
        """Make a context; the interpreter needs to know the protocol here."""
        del path, make
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, path: Path, make: Callable[[str], ssl.SSLContext]) -> None:
        """Read `path`. Raises OSError, and ssl.SSLError for a file without certificates."""
        self._path = path
        self._make = make
        self._content = path.read_bytes()
        self._chain: tuple[bytes, bytes | None] | None = None
        self._reported = b""
        self._listeners: list[weakref.WeakMethod[Callable[[str], None]]] = []
        self._current = make(str(path))
        # in this order: a context that checks host names cannot be set to verify nothing
        for name in ("verify_flags", "check_hostname", "verify_mode"):
            setattr(self, name, getattr(self._current, name))
        self.load_verify_locations(cafile=path)

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call `listener`, a bound method that is held weakly, with what happened when the authorities change."""
        self._listeners.append(weakref.WeakMethod(listener))

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        """Hold a client certificate, also in the contexts that follow."""
        self._current.load_cert_chain(certfile, keyfile, password)
        self._chain = (
            Path(certfile).read_bytes(),
            Path(keyfile).read_bytes() if keyfile is not None else None,
        )

    def reload(self) -> bool:
        """Read the file again if it was replaced; return whether other authorities are trusted now. It blocks.

        A file that is missing, or cannot be read as certificates, changes nothing: that is logged,
        once for each content.
        """
        try:
            content = self._path.read_bytes()
            if content == self._content:
                return False
            self._current = self._made(content)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if self._reported != (shown := str(error).encode()):
                _log.warning(
                    "%s cannot be read: %s: using the previous ones",
                    self._path,
                    error,
                )
            self._reported = shown
            return False
        self._content, self._reported = content, b""
        _log.info("%s was replaced: new connections use its current contents", self._path)
        return True

    def notify(self) -> None:
        """Call the listeners; in the event loop's thread, after a `reload` that returned True."""
        for reference in self._listeners:
            listener = reference()
            if listener is not None:
                listener(f"{self._path} was replaced")

    def _made(self, content: bytes) -> ssl.SSLContext:
        """Build a context from the bytes that were compared: the file may be replaced again meanwhile."""
        with tempfile.TemporaryDirectory(prefix="operatorkit-") as directory:
            authorities, cert, key = (Path(directory) / name for name in ("ca", "cert", "key"))
            authorities.write_bytes(content)
            made = self._make(str(authorities))
            if self._chain is not None:
                cert.write_bytes(self._chain[0])
                if self._chain[1] is not None:
                    key.touch(mode=0o600)
                    key.write_bytes(self._chain[1])
                made.load_cert_chain(cert, key if self._chain[1] is not None else None)
        return made

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin a TLS connection of asyncio."""
        return self._current.wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Begin a TLS connection of a socket."""
        return self._current.wrap_socket(*args, **options)
