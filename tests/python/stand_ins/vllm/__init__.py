"""As much of vLLM 0.33's scheduler as its integration touches, with the real names and signatures."""

__version__ = "0.33.0"
