"""The test kit: the plugin as users have it, and the agent that it makes."""
