"""Accept or reject the connection requests of consumers."""
