package sliding

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/persistence/schema"
)

// facts are what filters ask of a room's state. They hold as long as nothing happens in the room.
type facts struct {
	activity  uint64
	roomType  string // empty: none
	name      string
	encrypted bool
	known     bool // false of an invitation that says nothing
}

// factsOf gives the facts of a room; of one that the user has yet to join, what the invitation says.
func (b *builder) factsOf(r *room) (facts, error) {
	if r.invitation.RoomID != "" {
		return invitationFacts(r.invitation.StrippedState), nil
	}
	if f, ok := b.facts.Get(r.id); ok && f.activity == r.stamps.Activity {
		return f, nil
	}
	row, ok, err := schema.Rooms.Get(b.ctx, b.reader.Store(), schema.Room{RoomID: r.id})
	if err != nil {
		return facts{}, err
	}
	f := facts{activity: r.stamps.Activity, roomType: row.RoomType, name: row.Name, encrypted: row.Encryption != "", known: ok}
	b.facts.Set(r.id, f)
	return f, nil
}

// invitationFacts reads stripped state. What it lacks is not there, if it has the room's creation.
func invitationFacts(stripped []byte) (f facts) {
	for _, e := range gjson.ParseBytes(stripped).Array() {
		if e.Get("state_key").Str != "" {
			continue
		}
		switch e.Get("type").Str {
		case "m.room.create":
			f.known = true
			f.roomType = e.Get("content.type").Str
		case "m.room.encryption":
			f.encrypted = true
		case "m.room.name":
			f.name = e.Get("content.name").Str
		}
	}
	return f
}

// space is which rooms a space has as children, as long as nothing happens in it.
type space struct {
	activity uint64
	children map[string]bool
}

// childrenOf gives the rooms that are directly in one of these spaces, of which only those count that the user is in.
func (b *builder) childrenOf(spaces []string) (map[string]bool, error) {
	all := map[string]bool{}
	for _, r := range b.rooms {
		if r.stamps.Membership != "join" || !slices.Contains(spaces, r.id) {
			continue
		}
		s, ok := b.spaces.Get(r.id)
		if !ok || s.activity != r.stamps.Activity {
			var err error
			if s, err = b.readSpace(r); err != nil {
				return nil, err
			}
			b.spaces.Set(r.id, s)
		}
		for child := range s.children {
			all[child] = true
		}
	}
	return all, nil
}

func (b *builder) readSpace(r *room) (space, error) {
	s := space{activity: r.stamps.Activity, children: map[string]bool{}}
	refs, err := b.reader.CurrentOf(b.ctx, r.id, "m.space.child")
	if err != nil {
		return s, err
	}
	for _, ref := range refs {
		row, err := b.reader.EventAt(b.ctx, r.id, ref.Seq)
		if err != nil {
			return s, err
		}
		// A child without servers to join by is none (client-server API, "m.space.child").
		if via := gjson.GetBytes(row.JSON, "content.via"); via.IsArray() && len(via.Array()) > 0 {
			s.children[ref.StateKey] = true
		}
	}
	return s, nil
}

// sieve makes the test that the filters are.
func (b *builder) sieve(f *Filters) (func(*room) (bool, error), error) {
	var children map[string]bool
	if f.Spaces != nil {
		var err error
		if children, err = b.childrenOf(f.Spaces); err != nil {
			return nil, err
		}
	}
	return func(r *room) (bool, error) {
		switch {
		case f.IsDM != nil && *f.IsDM != b.direct[r.id],
			f.IsInvited != nil && *f.IsInvited != (r.stamps.Membership == "invite"),
			f.Spaces != nil && !children[r.id]:
			return false, nil
		}
		if ok, err := b.factsPass(f, r); err != nil || !ok {
			return false, err
		}
		return b.tagsPass(f, r)
	}, nil
}

func (b *builder) factsPass(f *Filters, r *room) (bool, error) {
	if f.IsEncrypted == nil && f.RoomTypes == nil && len(f.NotRoomTypes) == 0 && f.NameLike == "" {
		return true, nil
	}
	of, err := b.factsOf(r)
	if err != nil || !of.known {
		return false, err
	}
	isType := func(t *string) bool {
		return t == nil && of.roomType == "" || t != nil && *t != "" && *t == of.roomType
	}
	switch {
	case f.IsEncrypted != nil && *f.IsEncrypted != of.encrypted,
		f.RoomTypes != nil && !slices.ContainsFunc(f.RoomTypes, isType),
		slices.ContainsFunc(f.NotRoomTypes, isType),
		!strings.Contains(strings.ToLower(of.name), strings.ToLower(f.NameLike)):
		return false, nil
	}
	return true, nil
}

func (b *builder) tagsPass(f *Filters, r *room) (bool, error) {
	if f.Tags == nil && len(f.NotTags) == 0 {
		return true, nil
	}
	row, _, err := schema.AccountDatas.Get(b.ctx, b.reader.Store(), schema.AccountData{UserID: b.req.UserID, RoomID: r.id, Type: "m.tag"})
	if err != nil {
		return false, err
	}
	has := false
	for tag := range gjson.GetBytes(row.Content, "tags").Map() {
		if slices.Contains(f.NotTags, tag) {
			return false, nil
		}
		has = has || slices.Contains(f.Tags, tag)
	}
	return f.Tags == nil || has, nil
}
