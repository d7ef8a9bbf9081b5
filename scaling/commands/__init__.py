"""One module a command: it reads arguments, calls a room, and prints what came back."""
