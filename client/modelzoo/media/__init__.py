"""Pictures and sound from the bytes of files: decoded within limits, refused with a reason."""
