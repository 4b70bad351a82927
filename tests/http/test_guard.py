"""S5: a URL from event data reaches public addresses only, at every hop."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest

from py_agent.errors import HttpError, HttpRefusedError
from py_agent.http.guard import is_allowed
from py_agent.http.session import Http

from .conftest import MakeServer
from .support import Server, moved, reply

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.0.1", "100.63.255.255",
          "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8",
          "64:ff9b::808:808", "2002:808:808::1"]  # fmt: skip
OWN = ["127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255",
       "192.168.1.1", "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fd12::1",
       "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
       "2002:7f00:1::", "2002:c0a8:101::1", "::127.0.0.1"]  # fmt: skip
NEVER = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1",
         "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.0.1", "192.0.2.1",
         "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "::", "fe80::1",
         "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1", "2001::1",
         "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe",
         "2002:a9fe:a9fe::", "2002:e000:1::", "4000::1", "::2"]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    """Also inside the forms of IPv6 that carry one."""
    assert is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OWN)
def test_the_own_network_is_allowed_only_when_asked_for(address: str) -> None:
    """`allow_private=True` is for those who poll at home."""
    found = ipaddress.ip_address(address)
    assert (is_allowed(found), is_allowed(found, allow_private=True)) == (False, True)


@pytest.mark.parametrize("address", NEVER)
def test_what_is_nobodys_server_is_never_allowed(address: str) -> None:
    """Where clouds tell their secrets, groups, and addresses that do not exist."""
    found = ipaddress.ip_address(address)
    assert not is_allowed(found)
    assert not is_allowed(found, allow_private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
     "017700000001", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "0", "0.0.0.0",
     "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::]",
     "user@127.0.0.1", "8.8.8.8@127.0.0.1", "127.0.0.1%2f"],
)  # fmt: skip
def test_no_spelling_of_our_own_machine_passes(
    http: Http, server: Server, host: str
) -> None:
    """The system understands many, and what it understands is looked at."""
    with pytest.raises(HttpError):
        http.get(server.url(host=host), guard=True, retries=0)
    assert server.seen == []


Names = Callable[..., None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Sets what each look-up of a name answers; the last answer repeats."""

    def answer(*script: list[str]) -> None:
        left = list(script)

        def look_up(host: str, port: int, *_: Any) -> list[Any]:
            found = left[0] if len(left) == 1 else left.pop(0)
            family = socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return answer


@pytest.mark.parametrize("found", [["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]])
def test_one_bad_address_refuses_the_name(
    http: Http, server: Server, names: Names, found: list[str]
) -> None:
    """Whichever of them would be taken first."""
    names(found)
    with pytest.raises(HttpRefusedError, match="127.0.0.1, which is not a public address"):
        http.get(server.url(host="mixed.test"), guard=True)
    assert server.seen == []


def test_the_refusal_is_no_passing_error(http: Http, names: Names) -> None:
    """It is not tried again, and a listener can discard the event."""
    names(["169.254.169.254"])
    with pytest.raises(HttpRefusedError) as caught:
        http.get("http://metadata.test/", guard=True, allow_private=True)
    assert not caught.value.transient


def test_the_connection_goes_to_the_address_that_was_checked(
    http: Http, server: Server, names: Names
) -> None:
    """A name that answers differently the second time gains nothing (rebinding)."""
    names(["127.0.0.1"], ["127.0.0.9"])
    url = server.url(host="rebinding.test")
    answer = http.get(url, guard=True, allow_private=True)
    assert answer.status_code == 200
    assert server.seen[0].headers["host"] == f"rebinding.test:{server.port}"


def test_the_second_look_up_is_checked_like_the_first(
    http: Http, server: Server, names: Names
) -> None:
    """Each new connection asks again, and looks again."""
    server.say(lambda talk: talk.send(reply()))  # closes after each answer
    names(["127.0.0.1"], ["169.254.169.254"])
    url = server.url(host="rebinding.test")
    http.get(url, guard=True, allow_private=True)
    assert server.over.acquire(timeout=30)
    with pytest.raises(HttpRefusedError):
        http.get(url, guard=True, allow_private=True)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "0.0.0.0", "[fe80::1]", "2852039166", "[::ffff:a9fe:a9fe]"]
)
def test_each_hop_is_checked(http: Http, server: Server, host: str) -> None:
    """A good host may send us to a bad one."""
    server.say(moved(f"http://{host}/latest/meta-data"))
    with pytest.raises(HttpRefusedError):
        http.get(server.url(), guard=True, allow_private=True)
    assert len(server.seen) == 1


def test_a_guarded_request_takes_over_no_unguarded_connection(
    http: Http, server: Server
) -> None:
    """The address of a kept connection was checked for another purpose."""
    http.get(server.url())
    http.get(server.url(), guard=True, allow_private=True)
    with pytest.raises(HttpRefusedError):
        http.get(server.url(), guard=True)
    assert len(server.seen) == 2


def test_the_guard_uses_no_proxy(
    http: Http, server: Server, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look up names itself, and reach what we may not."""
    proxy = make_server(reply(body=b"proxy"))
    monkeypatch.setenv("http_proxy", proxy.url())
    monkeypatch.setenv("no_proxy", "")
    server.say(moved("/next"), reply(body=b"direct"))
    guarded = http.get(server.url(), guard=True, allow_private=True)
    plain = http.get(server.url())
    assert (guarded.content, plain.content) == (b"direct", b"proxy")


def test_the_name_of_a_certificate_is_the_urls(
    http: Http, make_server: MakeServer, make_tls: Any, ca_file: str, names: Names
) -> None:
    """The connection goes to an address, but TLS still asks for the host."""
    names(["127.0.0.1"])
    server = make_server(tls=make_tls("named.test"))
    options = {"guard": True, "allow_private": True, "verify": ca_file, "retries": 0}
    assert http.get(server.url(host="named.test"), **options).status_code == 200
    with pytest.raises(HttpError, match="certificate is not trusted"):
        http.get(server.url(host="other.test"), **options)
