"""The OpenAPI and AsyncAPI documents, generated from what the routes and the websocket's messages declare."""

from .asyncapi import asyncapi
from .openapi import openapi

__all__ = ["asyncapi", "openapi"]
