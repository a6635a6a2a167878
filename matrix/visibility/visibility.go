// Package visibility decides who may see an event, in one function (client-server API, "Room history visibility").
package visibility

// The values of m.room.history_visibility.
const (
	WorldReadable = "world_readable"
	Shared        = "shared"
	Invited       = "invited"
	Joined        = "joined"
)

// Parse gives the visibility that a value of history_visibility means: shared, when it is not known.
func Parse(value string) string {
	switch value {
	case WorldReadable, Invited, Joined:
		return value
	}
	return Shared
}

// Query is what the decision depends on.
type Query struct {
	// Visibility is the history visibility at the event.
	Visibility string
	// Membership is the user's membership at the event.
	Membership string
	// JoinedLater says that the user was in the room at some point at or after the event. Leaving ends that: for someone who
	// left, was banned, or was invited again since, it is false for everything after the end of the last stay.
	JoinedLater bool
}

// Allowed decides by the specification's rules 1 to 5. For a server, ask with the best that any of its users has: a server sees what
// one of them may see.
//
// For an event that changes the visibility, or the user's own membership, ask
// twice, with what held before and after it: either suffices.
func Allowed(q Query) bool {
	switch {
	case q.Visibility == WorldReadable:
		return true
	case q.Membership == "join":
		return true
	case q.Visibility == Shared && q.JoinedLater:
		return true
	case q.Visibility == Invited && q.Membership == "invite":
		return true
	}
	return false
}
