"""Numbers -> where they lie in a drawing. Pure; templates/charts/ draws them, static/charts.css
colours them.

A drawing is as wide as there is room and its text is not scaled with it: positions are per cent of
the drawing, and curves lie in a plane of `scale.WIDTH` x `scale.HEIGHT` that is stretched over it.
"""
