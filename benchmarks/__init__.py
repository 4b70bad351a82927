"""How fast py_agent is, told as ratios to the database it stands on."""
