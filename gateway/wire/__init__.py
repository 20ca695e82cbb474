"""Foreign shapes, as pure functions: OpenAI, Anthropic, Gemini, and event streams."""
