"""What the operating system gives a process: clock, interrupts, threads, working directory."""
