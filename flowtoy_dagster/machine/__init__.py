"""What the operating system gives a process: a clock, interrupts, the working directory."""
