"""Which addresses a URL that came from event data may reach.

The host is resolved once, all its addresses are looked at, and the connection goes to
one of exactly these: a name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from typing import Any

from ..errors import HttpRefusedError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Target = tuple[socket.AddressFamily, tuple[Any, ...]]  # family and socket address

_V4, _V6 = ipaddress.IPv4Network, ipaddress.IPv6Network
Networks = list[ipaddress.IPv4Network | ipaddress.IPv6Network]

# What a user's own network consists of (RFC 1918, 4193, 6598, and loopback).
_PRIVATE: Networks = [
    *map(_V4, ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]),
    *map(_V4, ["127.0.0.0/8"]),
    *map(_V6, ["::1/128", "fc00::/7"]),
]
# Beside what `ipaddress` calls private: the relay of 6to4 (RFC 7526) and the second
# block for documentation (RFC 9637).
_NEVER: Networks = [_V4("192.88.99.0/24"), _V6("3fff::/20")]
_UNICAST = _V6("2000::/3")  # all that IANA has given out for the internet
# Forms of IPv6 that carry an IPv4 address, and the lowest bit where it stands.
_CARRIERS = [
    (_V6("::ffff:0:0/96"), 0),  # mapped, RFC 4291
    (_V6("::/96"), 0),  # compatible, RFC 4291
    (_V6("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (_V6("64:ff9b:1::/48"), 0),  # NAT64 of a local network, RFC 8215
    (_V6("2002::/16"), 80),  # 6to4, RFC 3056
]
_SELF = frozenset(map(ipaddress.IPv6Address, ["::", "::1"]))


def is_allowed(address: IPAddress, allow_private: bool = False) -> bool:
    """Return whether the guard lets a connection go to an address.

    Args:
        address: where it would go.
        allow_private: whether the own network is allowed. Link-local addresses never
            are: that is where clouds tell their machines' secrets.
    """
    address = _carried(address)
    if any(address in each for each in _PRIVATE):
        return allow_private
    if any(address in each for each in _NEVER):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside an IPv6 one, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _SELF:
        for network, shift in _CARRIERS:
            if address in network:
                return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


def check(host: str, targets: list[Target], allow_private: bool) -> None:
    """Refuse a host that has any address which is not allowed.

    Args:
        host: as the URL names it.
        targets: all its addresses.
        allow_private: see `is_allowed`.

    Raises:
        HttpRefusedError: it has one.
    """
    for _, target in targets:
        address = ipaddress.ip_address(str(target[0]).partition("%")[0])
        if not is_allowed(address, allow_private):
            where = host if host == str(address) else f"{host} is at {address}, which"
            # As agent.toml has it, where most of these arguments stand.
            advice = "; allow_private = true allows your own network"
            raise HttpRefusedError(
                f"{where} is not a public address{'' if allow_private else advice}"
            )


def resolve(host: str, port: int, limit: float) -> list[Target]:
    """Return the addresses of a host.

    Args:
        host: a name, or an address in any spelling that the system understands.
        port: the TCP port.
        limit: seconds at most. The system's resolver cannot be told to hurry, so it is
            asked on a thread of its own and left alone when it is late.

    Raises:
        OSError: there is no such host.
        TimeoutError: the resolver did not answer in time.
        UnicodeError: the text cannot be a host.
    """
    answers: queue.SimpleQueue[list[Target] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
            answers.put([(each[0], each[4]) for each in found])
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, name="py_agent-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=limit)
    except queue.Empty:
        raise TimeoutError(f"the address of {host} was not found in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
