"""What clients talk to: HTTP, the websocket, and the documents that describe both."""
