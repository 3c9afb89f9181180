"""Property tests: no example fails for being slow, as machines are shared and what is checked is the answer."""

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
