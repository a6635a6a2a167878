package cluster

import "context"

// Directory is where the nodes of a cluster find each other, and where it stands what operators moved.
type Directory interface {
	// Join makes this node known, keeps it known until Leave, and calls changed with every new view, one at a time, the
	// first time before it returns. While the directory cannot be reached the last view stands.
	Join(ctx context.Context, self Member, changed func(Observation)) error
	// Leave makes the node unknown at once and ends what Join began.
	Leave(ctx context.Context) error
	// Rejoin makes the node known under a new incarnation, after it was away.
	Rejoin(ctx context.Context, incarnation string) error
	// SetWeight says how large this node's share is from now on.
	SetWeight(ctx context.Context, weight float64) error
	// SetDraining says that the member gives away what it owns, or no longer does. It lasts until the member's next Join.
	SetDraining(ctx context.Context, member string, draining bool) error
	// Move sets where an actor lives; the zero Override leaves it to the hash again.
	Move(ctx context.Context, id Identity, to Override) error
}

// Observation is what a Directory says of the cluster.
type Observation struct {
	View *View
	// Reachable is false while the directory does not answer: the view may be old.
	Reachable bool
}
