package reader

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence/schema"
)

// How many users are remembered not to have erased their account, or to have, and for how long. Who comes into a room within that time after
// an erasure may still be served what others in the room have.
const (
	erasedCacheSize = 50_000
	erasedMemory    = 5 * time.Second
)

// erasure is whether a user has erased their account, as it was read then. Nothing runs beside the cache to forget it.
type erasure struct {
	erased bool
	read   time.Time
}

// hasErased reports whether a user of this server has ended their account and had erased what they said (client-server API, "POST
// /account/deactivate").
func (r *Reader) hasErased(ctx context.Context, userID string) (bool, error) {
	now := r.now()
	if known, ok := r.erased.Get(userID); ok && now.Sub(known.read) < erasedMemory {
		return known.erased, nil
	}
	a, _, err := schema.Accounts.Get(ctx, r.store, schema.Account{UserID: userID})
	if err == nil {
		r.erased.Set(userID, erasure{a.Erased, now})
	}
	return a.Erased, err
}

// erases reports whether an event is served redacted to whoever came into the room with the event joinedSeq, or never came (0): because its
// sender has erased their account, and had left the room by then, as those do who erase it. It is about what people say, and how they call
// themselves; the state of a room belongs to the room.
func (r *Reader) erases(ctx context.Context, row *schema.Event, joinedSeq uint64) (bool, error) {
	if row.RedactedBy != "" || row.StateKey != nil && row.Type != "m.room.member" {
		return false, nil
	}
	if erased, err := r.hasErased(ctx, row.Sender); err != nil || !erased {
		return false, err
	}
	m, _, err := schema.Memberships.Get(ctx, r.store, schema.Membership{UserID: row.Sender, RoomID: row.RoomID})
	return joinedSeq == 0 || m.Membership != "join" && joinedSeq > m.LeftSeq, err
}

// Erased reports whether the user is served the event redacted, because its sender has erased their account.
func (a *Access) Erased(ctx context.Context, row *schema.Event) (bool, error) {
	if row.Sender == a.UserID || id.ServerOf(row.Sender) != id.ServerOf(a.UserID) {
		return false, nil
	}
	return a.r.erases(ctx, row, a.Member.JoinedSeq)
}

// erases reports whether the server is served the event redacted.
func (s *Served) erases(ctx context.Context, row *schema.Event) (bool, error) {
	if row.StateKey != nil || s.since == 0 || s.since >= schema.OutlierBase || id.ServerOf(row.Sender) == s.Server {
		return false, nil
	}
	return s.r.erases(ctx, row, s.since)
}

// redacted is the PDU without what its content says.
func (r *Reader) redacted(ctx context.Context, row *schema.Event) ([]byte, error) {
	version, err := r.Version(ctx, row.RoomID)
	if err != nil {
		return nil, err
	}
	e, err := stored(row, version)
	if err != nil {
		return nil, err
	}
	return e.Redacted().JSON(), nil
}
