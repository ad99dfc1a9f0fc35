"""Whom a request is for and which page sent it: what keeps the pages of other sites away from the server.

A page of another site reads answers where its own name is made to lead to this server (DNS rebinding), and posts here
what browsers let it post unasked. Both show in the request's head; addresses in digits lead nowhere else.
"""

import ipaddress
import re
from collections.abc import Iterable

AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def host_of(authority: str) -> str | None:
    """The lower-case name or address of `name:port`; None where it is no such thing."""
    match = AUTHORITY.fullmatch(authority)
    return match and match[1].strip("[]").rstrip(".").lower()


def network_of(client: tuple[str, int] | None) -> str:
    """The address whose connections and requests are counted together: one of IPv4, the /64 of one of IPv6. What a
    proxy gives in its place may be any text, and counts as it is."""
    if not client:
        return ""
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or int(address) >> 64)
    return str(address)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_host(text: str) -> bool:
    """Whether this is a name or an address alone."""
    return host_of(text) == text.strip("[]").rstrip(".").lower()


def is_origin(text: str) -> bool:
    """Whether this is `https://name` or `http://name:port`, as browsers say which page asks."""
    scheme, mark, authority = text.partition("://")
    return scheme in ("http", "https") and bool(mark) and host_of(authority) is not None


class Origins:
    """The names that a server answers to: addresses in digits, localhost, and those given.

    pages : origins of other sites, such as https://example.org, whose pages may use the server too.
    """

    def __init__(self, names: Iterable[str] = (), pages: Iterable[str] = ()):
        self._names = frozenset(name.rstrip(".").lower() for name in names)
        self._pages = frozenset(page.lower() for page in pages)

    def serves(self, authority: str) -> bool:
        """Whether a request with this Host is meant for the server."""
        host = host_of(authority)
        return host is not None and (host == "localhost" or host in self._names or is_address(host))

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may use the server although it is not theirs."""
        return origin.lower() in self._pages

    def may_post(self, origin: str, authority: str) -> bool:
        """Whether a page of this origin may post to the server that it calls by this Host."""
        page = origin.partition("://")[2].lower()
        return self.allows(origin) or page == authority.lower() or host_of(page) in self._names
