"""From a study to finished runs: ladder, plan, claims, workers, launchers."""
