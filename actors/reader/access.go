package reader

import (
	"context"
	"math"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/visibility"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Access is what one user may see of one room. It is made for one request and is not safe for concurrent use.
type Access struct {
	r      *Reader
	RoomID string
	UserID string
	// Member is the user's newest membership; its Membership is empty if there never was one.
	Member schema.Membership
	// standings are the user's memberships by the root of the state.
	standings map[string]string
	ignored   map[string]bool
}

// Access looks up the user's standing in the room.
func (r *Reader) Access(ctx context.Context, roomID, userID string) (*Access, error) {
	m, _, err := schema.Memberships.Get(ctx, r.store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil {
		return nil, err
	}
	return &Access{r: r, RoomID: roomID, UserID: userID, Member: m, standings: map[string]string{}}, nil
}

// insider is a user with a membership of a room.
type insider struct{ userID, roomID string }

// IsInsider reports whether the user has, or ever had, any membership of the room, an invite or a ban for example. A membership changes but
// never ceases to be, so each is looked up once.
func (r *Reader) IsInsider(ctx context.Context, roomID, userID string) (bool, error) {
	who := insider{userID, roomID}
	if _, ok := r.insiders.Get(who); ok {
		return true, nil
	}
	a, err := r.Access(ctx, roomID, userID)
	if err != nil || a.Member.Membership == "" {
		return false, err
	}
	r.insiders.Set(who, struct{}{})
	return true, nil
}

// Joined reports whether the user is in the room now.
func (a *Access) Joined() bool { return a.Member.Membership == "join" }

// WasJoined reports whether the user is or was in the room, and has not forgotten it.
func (a *Access) WasJoined() bool { return a.Member.JoinedSeq > 0 && !a.Member.Forgotten }

// until is the number of the last event at which the user was in the room, 0 if never.
func (a *Access) until() uint64 {
	switch {
	case a.Joined():
		return math.MaxUint64
	case a.Member.JoinedSeq > 0:
		return a.Member.LeftSeq
	}
	return 0
}

// RequireRead refuses (403 M_FORBIDDEN) whoever is not and was not in the room, unless everyone may read it.
// For those who left, and for everyone in a world-readable room, what is seen is then decided event by event.
func (a *Access) RequireRead(ctx context.Context) error {
	may, err := a.MayRead(ctx)
	if err == nil && !may {
		err = mxerr.Forbidden("you are not in the room %s", a.RoomID)
	}
	return err
}

// MayRead reports what RequireRead requires.
func (a *Access) MayRead(ctx context.Context) (bool, error) {
	if a.Joined() || a.WasJoined() {
		return true, nil
	}
	return a.r.worldReadable(ctx, a.RoomID)
}

// RequireJoined refuses (403 M_FORBIDDEN) whoever is not in the room now.
func (a *Access) RequireJoined() error {
	if !a.Joined() {
		return mxerr.Forbidden("you are not in the room %s", a.RoomID)
	}
	return nil
}

func (r *Reader) worldReadable(ctx context.Context, roomID string) (bool, error) {
	room, ok, err := schema.Rooms.Get(ctx, r.store, schema.Room{RoomID: roomID})
	return ok && room.HistoryVisibility == visibility.WorldReadable, err
}

// State is the state that the user may see: that of now for members, that at the leave for those who left, and that of now for
// everyone else in a world-readable room.
func (a *Access) State(ctx context.Context) (*State, error) {
	if err := a.RequireRead(ctx); err != nil {
		return nil, err
	}
	if !a.Joined() && a.WasJoined() {
		row, err := a.r.EventAt(ctx, a.RoomID, a.Member.LeftSeq)
		if err != nil {
			return nil, err
		}
		return a.r.StateAt(ctx, a.RoomID, row.RoomStateRoot())
	}
	last, ok, err := a.r.Last(ctx, a.RoomID, math.MaxUint64)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("this server does not know the room %s", a.RoomID)
	}
	return a.r.StateAt(ctx, a.RoomID, last.RoomStateRoot())
}

// Sees decides whether the user may see the event (client-server API, "Room history visibility").
func (a *Access) Sees(ctx context.Context, row *schema.Event) (bool, error) {
	if waits, err := a.waits(ctx, row); err != nil || waits {
		return false, err
	}
	after, err := a.r.visibilityAt(ctx, a.RoomID, row.StateAfter)
	if err != nil {
		return false, err
	}
	if a.Member.Forgotten && !a.Joined() {
		// Whoever forgot the room is a stranger to its history (POST /rooms/{roomId}/forget).
		return after == visibility.WorldReadable, nil
	}
	joinedLater := row.Seq <= a.until()
	if joinedLater && (after == visibility.Shared || after == visibility.WorldReadable) {
		return true, nil
	}
	q := visibility.Query{Visibility: after, JoinedLater: joinedLater}
	if q.Membership, err = a.MembershipAt(ctx, row); err != nil {
		return false, err
	}
	if visibility.Allowed(q) {
		return true, nil
	}
	ownMember := row.Type == "m.room.member" && row.StateKey != nil && *row.StateKey == a.UserID
	if row.Type != "m.room.history_visibility" && !ownMember {
		return false, nil
	}
	if q.Visibility, err = a.r.visibilityAt(ctx, a.RoomID, row.StateBefore); err != nil {
		return false, err
	}
	if q.Membership, err = a.membershipIn(ctx, row.StateBefore); err != nil {
		return false, err
	}
	return visibility.Allowed(q), nil
}

// MembershipAt is the user's membership at the event, its own effect included; "leave" if there was none.
func (a *Access) MembershipAt(ctx context.Context, row *schema.Event) (string, error) {
	return a.membershipIn(ctx, row.StateAfter)
}

func (a *Access) membershipIn(ctx context.Context, root []byte) (string, error) {
	if m, ok := a.standings[string(root)]; ok {
		return m, nil
	}
	state, err := a.r.StateAt(ctx, a.RoomID, root)
	if err != nil {
		return "", err
	}
	row, ok, err := state.Get(ctx, "m.room.member", a.UserID)
	if err != nil {
		return "", err
	}
	membership := "leave"
	if ok {
		membership = gjson.GetBytes(row.JSON, "content.membership").Str
	}
	a.standings[string(root)] = membership
	return membership, nil
}

// visibilityAt is the history visibility in the state with this root; the empty state counts as the default.
func (r *Reader) visibilityAt(ctx context.Context, roomID string, root []byte) (string, error) {
	key := nodeKey{roomID, string(root)}
	if v, ok := r.visibility.Get(key); ok {
		return v, nil
	}
	state, err := r.StateAt(ctx, roomID, root)
	if err != nil {
		return "", err
	}
	row, ok, err := state.Get(ctx, "m.room.history_visibility", "")
	if err != nil {
		return "", err
	}
	v := visibility.Shared
	if ok {
		v = visibility.Parse(gjson.GetBytes(row.JSON, "content.history_visibility").Str)
	}
	r.visibility.Set(key, v)
	return v, nil
}

// Event finds an event that the user may see; 404 M_NOT_FOUND for all others, so that nobody can probe for ids.
func (a *Access) Event(ctx context.Context, eventID string) (schema.Event, error) {
	row, ok, err := a.r.Event(ctx, a.RoomID, eventID)
	if err != nil {
		return row, err
	}
	if ok {
		if ok, err = a.Sees(ctx, &row); err != nil {
			return row, err
		}
	}
	if !ok {
		return row, errUnknownEvent(eventID)
	}
	return row, nil
}

// Ignored is the set of users whom the user ignores (m.ignored_user_list); their message events are left out.
func (a *Access) Ignored(ctx context.Context) (map[string]bool, error) {
	if a.ignored == nil {
		var err error
		if a.ignored, err = a.r.IgnoredBy(ctx, a.UserID); err != nil {
			return nil, err
		}
	}
	return a.ignored, nil
}

// IgnoredBy reads a user's m.ignored_user_list.
func (r *Reader) IgnoredBy(ctx context.Context, userID string) (map[string]bool, error) {
	ignored := map[string]bool{}
	row, ok, err := schema.AccountDatas.Get(ctx, r.store, schema.AccountData{UserID: userID, Type: "m.ignored_user_list"})
	if err != nil || !ok {
		return ignored, err
	}
	gjson.GetBytes(row.Content, "ignored_users").ForEach(func(user, _ gjson.Result) bool {
		ignored[user.Str] = true
		return true
	})
	return ignored, nil
}
