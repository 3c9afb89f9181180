"""The training service: jobs, their queue, what they may do and what becomes of their results. No torch."""
