"""The requests of jobs and listeners, against real servers on loopback."""
