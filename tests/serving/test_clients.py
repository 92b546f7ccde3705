"""A client that leaves is noticed by everybody who waits; clients are distinguished by address."""

import pytest

from ecg_siglip.serving.clients import Client, RateLimit, address_of


def test_everybody_who_waits_learns_that_a_client_has_left():
    client, noted = Client(), []
    client.on_leave(lambda: noted.append("early"))
    assert not client.has_left and not noted
    client.leave()
    client.on_leave(lambda: noted.append("late"))
    client.leave()
    assert client.has_left and noted == ["early", "late"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("testclient", "testclient"),
    ],
)
def test_the_addresses_of_one_customer_are_one_client(host, address):
    assert address_of({"client": (host, 1)}) == address
    assert address_of({"client": None}) == ""


def test_clients_have_limits_of_their_own_and_reading_costs_less():
    pytest.importorskip("limits", reason="needs the extra [app]")
    rate = RateLimit(2)

    def allowed(host, method):
        return rate.allows({"client": (host, 1), "method": method})

    assert [allowed("10.0.0.1", "POST") for _ in range(3)] == [True, True, False]
    assert [allowed("10.0.0.2", "GET") for _ in range(21)] == [True] * 20 + [False]
    by_default = RateLimit(None)
    assert all(by_default.allows({"client": ("::1", 1), "method": "POST"}) for _ in range(2000))
