"""The HTTP interface, asked over HTTP: a real database, a real server, a real client."""
