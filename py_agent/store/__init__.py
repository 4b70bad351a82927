"""The durable event store: the only place in the engine that knows SQL."""
