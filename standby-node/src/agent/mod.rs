//! Roles that a thread can run: duty cycle, runner, idle strategies, and each agent in a file of its own.
