package pebble

import "github.com/matrixon/matrixon/persistence"

// headCache remembers the heads of the streams that were used last, so that most commits are checked without reading.
// Only the committer uses it, and only it changes heads; so what is here is what the database has.
type headCache struct {
	newer, older map[persistence.Stream]head
}

// headCacheSize is how many heads each half keeps; at about 150 bytes a head both take some 5 MB at most.
const headCacheSize = 16384

func (c *headCache) get(s persistence.Stream) (head, bool) {
	if h, ok := c.newer[s]; ok {
		return h, true
	}
	h, ok := c.older[s]
	return h, ok
}

// put records the heads that a batch changed. When the newer half is full it becomes the older, which is forgotten.
func (c *headCache) put(changed map[persistence.Stream]head) {
	if c.newer == nil || len(c.newer)+len(changed) > headCacheSize {
		c.older, c.newer = c.newer, make(map[persistence.Stream]head, len(changed))
	}
	for s, h := range changed {
		c.newer[s] = h
	}
}
