"""The OpenAPI and AsyncAPI documents, generated from what the routes and the websocket's requests declare."""

from __future__ import annotations

from typing import Any

from .state import Server


def openapi(server: Server) -> dict[str, Any]:
    return {}


def asyncapi(server: Server) -> dict[str, Any]:
    return {}
