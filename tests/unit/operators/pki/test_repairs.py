"""How soon a Secret is repaired again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from operators.pki.repairs import RepairBackOff

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_repairs_are_made_at_once_three_times_then_after_five_seconds_doubling_to_five_minutes():
    back_off, now, waits = RepairBackOff(), NOW, []
    for _ in range(12):
        allowed = back_off.allowed_at("uid", "deleted", now)
        waits.append((allowed - now).total_seconds())
        now = max(now, allowed)
        back_off.count("uid", "deleted", now)
    assert waits == [0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_causes_and_secrets_do_not_slow_each_other_and_quiet_is_a_new_beginning():
    back_off = RepairBackOff()
    for _ in range(5):
        back_off.count("uid", "deleted", NOW)
    assert back_off.allowed_at("uid", "deleted", NOW) > NOW
    assert back_off.allowed_at("uid", "changed", NOW) == NOW
    assert back_off.allowed_at("other", "deleted", NOW) == NOW
    later = NOW + timedelta(minutes=10)
    assert back_off.allowed_at("uid", "deleted", later) == later
    assert back_off.number("uid", "deleted", later) == 0
