"""What "This Week in Matrix" has printed."""

from __future__ import annotations

TABLE_2020_04_09 = """\
|Rank|Hostname|Median MS|
|:---:|:---:|:---:|
|1|gottliebtfreitag.de|403|
|2|maescool.be|469|
|3|nerdsin.space|503|
|4|envs.net|512.5|
|5|lyseo.edu.ouka.fi|544|
|6|maunium.net|576|
|7|imninja.net|577|
|8|matrix.vgorcum.com|697|
|9|kapsi.fi|751.5|
|10|chat.matrix4me.de|913|
"""
"""Under "Dept of Ping"."""
