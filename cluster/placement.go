package cluster

// Placement says which node an actor lives on. It may change at any time; what is sent to a node that does not own
// the actor is refused with Retry.
type Placement interface {
	// Owner is the stable name of the node, or "" when nobody can own the actor now.
	Owner(Identity) string
}

// Alone is the placement of a single node: it owns every actor.
func Alone(node string) Placement { return alone(node) }

type alone string

func (a alone) Owner(Identity) string { return string(a) }
