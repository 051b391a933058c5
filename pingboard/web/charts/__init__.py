"""Numbers -> where they lie in a drawing. Pure; templates draw them (larger ones have their own in
templates/charts/), style sheets colour them.

A drawing is as wide as there is room and its text is not scaled with it: positions are per cent of
the drawing, and curves lie in a plane of `scale.WIDTH` x `scale.HEIGHT` that is stretched over it.
"""
