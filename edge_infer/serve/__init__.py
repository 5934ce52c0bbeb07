"""One Diagnoser behind HTTP: bounded in size, time and number, a token unless bound to loopback, no picture kept."""
