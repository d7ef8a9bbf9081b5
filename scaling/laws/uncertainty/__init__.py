"""How far a fit can be trusted: resampling, profiles, posterior, influence, coverage."""
