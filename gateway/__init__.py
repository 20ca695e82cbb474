"""Jobgate: an OpenAI-compatible gateway that keeps exact books of what each job costs."""
