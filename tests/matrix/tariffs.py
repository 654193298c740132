"""What a deploy may forget."""

GREETING = "friend"
