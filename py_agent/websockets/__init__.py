"""A WebSocket for a service to read; `jobs.websocket_reader` shows how it is used."""

from .connection import Connection, Lost, Message, time_is_up
from .server import Server

__all__ = ["Connection", "Lost", "Message", "Server", "time_is_up"]
