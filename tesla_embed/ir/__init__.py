"""The intermediate representation: graphs, regions, their verifier, interpreter and store."""
