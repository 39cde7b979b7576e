"""The log of a process, for people and for programs."""

from __future__ import annotations

import json
import logging
from datetime import datetime

import click
import pytest

from operatorkit.cli._logs import _JSONLines, parse_level, set_up_logging


@pytest.fixture(autouse=True)
def restored():
    """Leave handlers and levels as they were."""
    root, named = logging.getLogger(), logging.getLogger("a.b")
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    named.setLevel(logging.NOTSET)


def set_up(**options):
    """Set logging up as in a process that has no handlers yet."""
    logging.getLogger().handlers.clear()
    set_up_logging(verbose=False, **options)


def failing() -> None:
    raise ValueError("broken\nin two lines")


def test_a_line_of_json_has_time_level_logger_message_object_and_exception(capsys):
    set_up(log_format="json")
    log = logging.getLogger("a.b")
    try:
        failing()
    except ValueError:
        log.exception("it is %s", "bad", extra={"object": "Plan a/b"})
    log.info("fine")
    log.debug("not shown")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["logger"], line["message"]) for line in lines] == [
        ("error", "a.b", "it is bad"),
        ("info", "a.b", "fine"),
    ]
    assert lines[0]["object"] == "Plan a/b"
    assert lines[0]["exception"].endswith("ValueError: broken\nin two lines")
    assert datetime.fromisoformat(lines[0]["time"]).tzinfo is not None
    assert lines[1].keys() == {"time", "level", "logger", "message"}


def test_levels_are_those_of_loggers(capsys):
    set_up(levels=[("", logging.ERROR), ("a.b", logging.DEBUG)])
    logging.getLogger("other").warning("not shown")
    logging.getLogger("a.b").debug("shown")
    text = capsys.readouterr().err
    assert text.rstrip().endswith("DEBUG   a.b: shown")
    assert "not shown" not in text


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("debug", ("", logging.DEBUG)), ("a.b=Warning", ("a.b", logging.WARNING))],
)
def test_a_level_is_of_all_loggers_or_of_one(text, parsed):
    assert parse_level(text) == parsed


@pytest.mark.parametrize("text", ["loud", "a=", "=debug", "", "a=loud"])
def test_what_is_no_level_is_an_error_that_names_the_levels(text):
    with pytest.raises(click.BadParameter, match="debug, info, warning, error"):
        parse_level(text)


def test_a_line_of_json_is_one_line():
    record = logging.LogRecord("a", logging.INFO, "", 0, "two\nlines", (), None)
    assert "\n" not in _JSONLines().format(record)
