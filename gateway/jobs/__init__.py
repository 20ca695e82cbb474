"""routes.yaml: jobs, targets, parameters, residency, budgets as configured."""
