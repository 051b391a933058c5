"""The room, through matrix-nio: events come in, pings and pongs go out."""
