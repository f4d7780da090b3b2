"""The server: graphs over a websocket and HTTP, a durable queue, worker processes, a web page.

It knows the engine and never a concrete node. The process that listens never imports torch: graphs are run by workers.
"""
