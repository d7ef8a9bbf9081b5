"""The page's sections, in the order a reader wants them; each is a function of the analysis."""
