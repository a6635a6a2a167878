package sliding

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/matrix/id"
)

// ProfilesQuery asks for the profiles of the users of this server in rooms, and for their changes (MSC4262).
type ProfilesQuery struct {
	Scope
	Fields []string // nil: all
}

// everyField stands for all fields in what is remembered of a connection; no field is called so.
const everyField = "*"

// mostProfiles is of how many users an answer tells the profile because rooms come into view. Clients ask for those of others when they need
// them.
const mostProfiles = 1000

func (q *ProfilesQuery) wants(field string) bool {
	return q.Fields == nil || slices.Contains(q.Fields, field)
}

// fields is what is remembered of the query.
func (q *ProfilesQuery) fields() []string {
	if q.Fields == nil {
		return []string{everyField}
	}
	return q.Fields
}

// profiles tells which profiles changed of users who share a room, wherever the room is, and the profiles of those whom the client gets to know
// because a room comes into view, or because it asks for more fields than before.
func (b *builder) profiles() error {
	q := b.req.Extensions.Profiles
	before := b.plan.Sent.GetProfileFields()
	grown := !slices.Contains(before, everyField) && !containsAll(before, q.fields())
	result := &ProfilesResult{Users: map[string]*ProfileChanges{}}
	if b.since > 0 && len(before) > 0 {
		if err := b.changedProfiles(q, result); err != nil {
			return err
		}
	}
	if err := b.newProfiles(q, grown, result); err != nil {
		return err
	}
	b.profileFields = q.fields()
	b.resp.Extensions.Profiles = result
	b.news = b.news || len(result.Users) > 0
	return nil
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// changedProfiles adds what changed since the position of the request.
func (b *builder) changedProfiles(q *ProfilesQuery, result *ProfilesResult) error {
	found, err := b.syncer.ProfilesBetween(b.ctx, b.req.UserID, b.changedRooms(), q.wants, b.since, b.plan.Pos)
	if err != nil {
		return err
	}
	for userID, fields := range found.Changed {
		changes := &ProfileChanges{}
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			if value := fields[field]; value != nil {
				changes.update(field, value)
			} else {
				changes.Removed = append(changes.Removed, field)
			}
		}
		result.Users[userID] = changes
	}
	for _, userID := range found.Gone {
		result.Users[userID] = nil
	}
	return nil
}

// newProfiles adds the profiles of those whom the client gets to know.
func (b *builder) newProfiles(q *ProfilesQuery, grown bool, result *ProfilesResult) error {
	users := map[string]bool{}
	if grown {
		users[b.req.UserID] = true
	}
	if err := b.covered(&q.Scope, func(r *room) error { return b.getsToKnow(r, grown, users) }); err != nil {
		return err
	}
	told := 0
	for _, userID := range slices.Sorted(maps.Keys(users)) {
		if id.ServerOf(userID) != id.ServerOf(b.req.UserID) || told == mostProfiles {
			continue
		}
		fields, err := syncer.Profile(b.ctx, b.reader.Store(), userID, q.wants)
		if err != nil {
			return err
		}
		if len(fields) == 0 {
			continue
		}
		told++
		if result.Users[userID] == nil {
			result.Users[userID] = &ProfileChanges{}
		}
		for field, value := range fields {
			result.Users[userID].update(field, value)
		}
	}
	return nil
}

// getsToKnow adds the members of a room that comes into view, or all that were shown when the client asks for more; where members are loaded
// lazily it is those who are loaded, and the heroes.
func (b *builder) getsToKnow(r *room, grown bool, users map[string]bool) error {
	if r.stamps.Membership != "join" {
		return nil
	}
	whole := grown || r.begins
	if !r.config.State.lazy() {
		if !whole {
			return nil
		}
		members, err := b.reader.CurrentOf(b.ctx, r.id, "m.room.member")
		for _, m := range members {
			if m.Membership == "join" {
				users[m.StateKey] = true
			}
		}
		return err
	}
	members := r.sent.GetMembers()
	if s := b.became[r.id]; s != nil {
		members = s.GetMembers()
	}
	known := r.sent.GetMembers()
	for userID := range members {
		if _, had := known[userID]; whole || !had {
			users[userID] = true
		}
	}
	if shown := b.resp.Rooms[r.id]; shown != nil && whole {
		for _, h := range shown.Heroes {
			users[h.UserID] = true
		}
	}
	return nil
}

// ProfilesResult is what is new in profiles (MSC4262); null for users with whom the user shares no room any more.
type ProfilesResult struct {
	Users map[string]*ProfileChanges `json:"users"`
}

// ProfileChanges are the fields of one profile that are new, and those that are no more.
type ProfileChanges struct {
	Updated map[string]jsontext.Value `json:"updated,omitzero"`
	Removed []string                  `json:"removed,omitzero"`
}

func (c *ProfileChanges) update(field string, value jsontext.Value) {
	if c.Updated == nil {
		c.Updated = map[string]jsontext.Value{}
	}
	c.Updated[field] = value
}
