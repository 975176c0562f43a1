"""Everything on the PC's side: command line, toolchains, emulators, link, profiling, report."""
