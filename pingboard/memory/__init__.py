"""What the boards keep at hand, in step with the store.

`samples` are the hours that windows need, `running` the boards that follow each pong, and `years`
reads windows that are longer than what is kept.
"""
