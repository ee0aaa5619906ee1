"""Under which names a server is reached, by where it listens."""

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_every_address(host: str) -> bool:
    """Whether a server that listens there listens at all of the machine's addresses."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def names_of(host: str) -> tuple[str, ...]:
    """The names of a server that listens there, in lower case; addresses are none."""
    own = () if is_loopback(host) else (host, socket.gethostname(), socket.getfqdn())
    names = dict.fromkeys(name.lower() for name in ("localhost", *own))
    return tuple(name for name in names if name and not _is_address(name))


def to_open(host: str, port: int) -> str:
    """What those who are let in open: one URL, or what stands in for the host where that is no
    place of its own."""
    if not is_every_address(host):
        return url(host, port)
    known = [socket.gethostname(), *_outward(host)]
    return " or ".join(url(each, port) for each in known)


def url(host: str, port: int) -> str:
    """The page's URL."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _outward(host: str) -> list[str]:
    """The address by which the machine would reach others; none where it has no way out. Nothing
    is sent to learn it."""
    # Addresses that are kept for examples (RFC 5737, RFC 3849).
    other, family = ("192.0.2.1", socket.AF_INET)
    if ":" in host:
        other, family = ("2001:db8::1", socket.AF_INET6)
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        try:
            way.connect((other, 9))
        except OSError:
            return []
        return [way.getsockname()[0]]
