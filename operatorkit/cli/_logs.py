"""The log of a process: its levels, and its lines, for people or as JSON.

What belongs here: setting up `logging`. What does not: what is logged. No secret is: tests hold that.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import click

__all__ = ["LEVELS", "LogFormat", "parse_level", "set_up_logging"]

LogFormat = Literal["console", "json"]
LEVELS: Final = ("debug", "info", "warning", "error")

_NOISY = ("asyncio", "aiohttp", "kubernetes", "urllib3")


class _JSONLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message; object and exception if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        subject = getattr(record, "object", None)
        if subject is not None:
            line["object"] = str(subject)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(line, ensure_ascii=False)


def parse_level(text: str) -> tuple[str, int]:
    """Return the logger ("" for all) and the level of `LEVEL` or `LOGGER=LEVEL`. Raises click.BadParameter."""
    logger, _, word = text.rpartition("=")
    if word.lower() not in LEVELS or (not logger and "=" in text):
        raise click.BadParameter(
            f"{text!r}: give a level ({', '.join(LEVELS)}), or LOGGER=LEVEL, such as operatorkit.runtime=debug"
        )
    return logger, getattr(logging, word.upper())


def set_up_logging(
    *,
    verbose: bool,
    log_format: LogFormat = "console",
    levels: Iterable[tuple[str, int]] = (),
) -> None:
    """Log to stderr: a line has time, level, logger and message. `levels` are those of loggers, "" of all."""
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(_JSONLines())
    else:
        line = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(line, datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for logger, level in levels:
        logging.getLogger(logger or None).setLevel(level)
