"""What kernels cost on an emulated core, beside what others need for the same."""
