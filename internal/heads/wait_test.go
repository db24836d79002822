package heads

import "time"

// wait passes time in a synctest bubble.
func wait(d time.Duration) { <-time.After(d) }
