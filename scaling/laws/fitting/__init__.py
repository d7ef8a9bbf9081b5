"""From a law and a table to the optimum: objectives, derivatives, solver, receipt, certificate."""
