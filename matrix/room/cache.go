package room

import (
	"slices"

	"github.com/matrixon/matrixon/matrix/statetree"
)

// cache keeps what was used lately in two generations: what is not used during a whole generation is dropped.
// A generation is dropped only when every batch that wrote into it is durable, because until then the store
// does not know what the cache knows.
type cache struct {
	young, old *generation
	// sealed is the newest batch that may have written into old.
	sealed uint64
}

type generation struct {
	entries     map[uint64]*Entry
	bytes       int // of the events
	ids         map[string]uint64
	members     map[string]MemberRow
	receipts    map[ReceiptKey]ReceiptRow
	annotations map[AnnotationKey]bool
	nodes       map[statetree.Hash][]byte
	edges       map[uint64][]uint64           // the numbers of the auth events of state events
	redactions  map[string][]PendingRedaction // by target
}

func newGeneration() *generation {
	return &generation{
		entries: map[uint64]*Entry{}, ids: map[string]uint64{}, members: map[string]MemberRow{},
		receipts: map[ReceiptKey]ReceiptRow{}, annotations: map[AnnotationKey]bool{}, nodes: map[statetree.Hash][]byte{},
		edges: map[uint64][]uint64{}, redactions: map[string][]PendingRedaction{},
	}
}

// cacheUnit is how many bytes of an event count as much as a row.
const cacheUnit = 64

func (g *generation) size() int {
	return g.bytes/cacheUnit + len(g.entries) + len(g.members) + len(g.receipts) + len(g.annotations) + len(g.nodes) + len(g.edges) + len(g.redactions)
}

func (c *cache) reset() { c.young, c.old = newGeneration(), newGeneration() }

// rotate begins a new generation when the young one is full and the batches up to committed cover the old one;
// begun is the newest batch.
func (c *cache) rotate(limit int, committed, begun uint64) {
	if c.young.size() < limit || committed < c.sealed {
		return
	}
	c.old, c.young, c.sealed = c.young, newGeneration(), begun
}

func (c *cache) entry(seq uint64) *Entry {
	if e := c.young.entries[seq]; e != nil {
		return e
	}
	e := c.old.entries[seq]
	if e != nil {
		c.putEntry(e)
	}
	return e
}

func (c *cache) byID(id string) *Entry {
	seq, ok := c.young.ids[id]
	if !ok {
		if seq, ok = c.old.ids[id]; !ok {
			return nil
		}
	}
	return c.entry(seq)
}

func (c *cache) putEntry(e *Entry) {
	if c.young.entries[e.Seq] == nil {
		c.young.bytes += len(e.Event.JSON())
	}
	c.young.entries[e.Seq] = e
	if e.Number != 0 {
		c.young.entries[e.Number] = e
	}
	c.young.ids[e.Event.ID()] = e.Seq
}

func (c *cache) member(userID string) (MemberRow, bool) {
	return promote(c.young.members, c.old.members, userID)
}
func (c *cache) putMember(userID string, row MemberRow) { c.young.members[userID] = row }

// positionMember notes the position of the commit that wrote the row, unless the row has changed again.
func (c *cache) positionMember(change MemberChange, pos uint64) {
	if row, ok := c.member(change.UserID); ok && row.Seq == change.Row.Seq && row.Pos == 0 {
		row.Pos = pos
		c.putMember(change.UserID, row)
	}
}

func (c *cache) receipt(key ReceiptKey) (ReceiptRow, bool) {
	return promote(c.young.receipts, c.old.receipts, key)
}
func (c *cache) putReceipt(key ReceiptKey, row ReceiptRow) { c.young.receipts[key] = row }

func (c *cache) annotation(key AnnotationKey) (exists, known bool) {
	return promote(c.young.annotations, c.old.annotations, key)
}
func (c *cache) putAnnotation(key AnnotationKey, exists bool) { c.young.annotations[key] = exists }

func (c *cache) putEdges(number uint64, cites []uint64) { c.young.edges[number] = cites }
func (c *cache) edges(number uint64) ([]uint64, bool) {
	return promote(c.young.edges, c.old.edges, number)
}

// putRedaction notes a redaction that waits for its target, and may not be durable yet.
func (c *cache) putRedaction(r PendingRedaction) {
	c.young.redactions[r.TargetID] = append(c.young.redactions[r.TargetID], r)
}

func (c *cache) redactionsOf(target string) []PendingRedaction {
	return slices.Concat(c.old.redactions[target], c.young.redactions[target])
}

func (c *cache) addNode(n statetree.Node)             { c.young.nodes[n.Hash] = n.Bytes }
func (c *cache) node(h statetree.Hash) ([]byte, bool) { return promote(c.young.nodes, c.old.nodes, h) }

func promote[K comparable, V any](young, old map[K]V, key K) (V, bool) {
	if v, ok := young[key]; ok {
		return v, true
	}
	v, ok := old[key]
	if ok {
		young[key] = v
	}
	return v, ok
}
