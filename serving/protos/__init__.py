"""Messages of the server alone; those that a client sends and reads are in `souk_client.protos`."""
