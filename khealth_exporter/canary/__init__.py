"""What runs inside a canary pod: one task, one JSON document about it, and the end; or an agent, which stays."""
