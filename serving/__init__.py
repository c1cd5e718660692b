"""Everything that faces a served model: client, local server, deployment."""
