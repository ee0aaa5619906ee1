"""A thin client of the service: a radiograph goes out over HTTP, its localization comes back."""

from client.client import Client, Problem

__all__ = ["Client", "Problem"]
