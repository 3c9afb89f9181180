"""What every server needs: composition, drain, limits, interceptors, settings, paging."""
