"""The pages for people: one module a page, and what they share."""
