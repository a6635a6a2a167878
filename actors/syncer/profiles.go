package syncer

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// profileScan bounds how many fields of profiles one answer looks at: those that changed last.
const profileScan = 20_000

// ProfileUpdates are the fields of a user's profile that are new to the client (MSC4429); null for those that are no more, and null
// altogether when the user is in no room with the client's any more.
type ProfileUpdates struct {
	Fields *map[string]jsontext.Value `json:"profile_updates"`
}

// Profiles are the fields of profiles that changed, by user: a field that is no more has no value. Gone are the users of whom the user hears
// no more.
type Profiles struct {
	Changed map[string]map[string]jsontext.Value
	Gone    []string
}

// profiles adds what changed in the profiles of the users of this server who share a room. Of those who are new to the user it is all that
// the client asks for.
func (b *builder) profiles(resp *Response) (bool, error) {
	q := b.req.Filter.Profiles()
	if len(q) == 0 {
		return false, nil
	}
	m, err := b.meetings()
	if err != nil {
		return false, err
	}
	found, err := b.profilesOf(m, func(field string) bool { return slices.Contains(q, field) })
	if err != nil || len(found.Changed)+len(found.Gone) == 0 {
		return false, err
	}
	users := map[string]ProfileUpdates{}
	for userID, fields := range found.Changed {
		users[userID] = ProfileUpdates{&fields}
		for field, value := range fields {
			if value == nil {
				fields[field] = jsontext.Value("null")
			}
		}
	}
	for _, userID := range found.Gone {
		users[userID] = ProfileUpdates{}
	}
	if b.req.Filter.ProfileFieldsUnstable != nil {
		resp.UsersUnstable = users
	}
	if b.req.Filter.ProfileFields != nil {
		resp.Users = users
	}
	return true, nil
}

// ProfilesBetween says which of the wanted fields of profiles changed between two positions, and of whom the user hears no more, because of
// what happened in these rooms of the user's.
func (s *Syncer) ProfilesBetween(ctx context.Context, userID string, rooms []string, wanted func(field string) bool, since, pos uint64) (*Profiles, error) {
	b := &builder{Syncer: s, ctx: ctx, req: Request{UserID: userID, Filter: &filter.Filter{}},
		plan: &messages.SyncPlan{SincePos: since, Pos: pos}}
	m, err := b.meetingsIn(rooms)
	if err != nil {
		return nil, err
	}
	return b.profilesOf(m, wanted)
}

// profilesOf tells of the profiles of members who came, of members who went, and of changed fields.
func (b *builder) profilesOf(m *meetings, wanted func(field string) bool) (*Profiles, error) {
	found := &Profiles{Changed: map[string]map[string]jsontext.Value{}}
	shared := map[string]bool{}
	shares := func(userID string) (bool, error) {
		known, ok := shared[userID]
		if ok {
			return known, nil
		}
		is, err := b.shares(userID)
		shared[userID] = is
		return is, err
	}
	from := b.plan.SincePos
	if len(m.came) > metAtOnce {
		from = 0 // it is cheaper to look at everybody's fields
	} else if err := b.profilesOfThose(m.came, wanted, found); err != nil {
		return nil, err
	}
	for row, err := range schema.ProfileLogs.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.ProfileLog]{
		From: &schema.ProfileLog{Pos: from + 1}, Before: &schema.ProfileLog{Pos: b.plan.Pos + 1}, Reverse: true, Limit: profileScan}) {
		if err != nil {
			return nil, err
		}
		isNew := row.Pos > b.plan.SincePos
		if !isNew && !m.came[row.UserID] || !wanted(row.Field) {
			continue
		}
		if is, err := shares(row.UserID); err != nil {
			return nil, err
		} else if !is {
			continue
		}
		value, err := profileField(b.ctx, b.reader.Store(), row.UserID, row.Field)
		if err != nil {
			return nil, err
		}
		if value == nil && (b.plan.SincePos == 0 || !isNew) {
			continue // the client has never known it
		}
		found.add(row.UserID, row.Field, value)
	}
	for userID := range m.went {
		if id.ServerOf(userID) != id.ServerOf(b.req.UserID) {
			continue
		}
		if is, err := shares(userID); err != nil {
			return nil, err
		} else if !is {
			found.Gone = append(found.Gone, userID)
		}
	}
	slices.Sort(found.Gone)
	return found, nil
}

func (p *Profiles) add(userID, field string, value jsontext.Value) {
	if p.Changed[userID] == nil {
		p.Changed[userID] = map[string]jsontext.Value{}
	}
	p.Changed[userID][field] = value
}

// profilesOfThose adds the wanted fields of users whom the user has met.
func (b *builder) profilesOfThose(users map[string]bool, wanted func(field string) bool, found *Profiles) error {
	for userID := range users {
		fields, err := Profile(b.ctx, b.reader.Store(), userID, wanted)
		if err != nil {
			return err
		}
		for field, value := range fields {
			found.add(userID, field, value)
		}
	}
	return nil
}

// Profile reads the wanted fields of the profile of a user of this server.
func Profile(ctx context.Context, r persistence.Reader, userID string, wanted func(field string) bool) (map[string]jsontext.Value, error) {
	rows, err := account.Profile(ctx, r, userID)
	fields := map[string]jsontext.Value{}
	for _, row := range rows {
		if wanted(row.Field) {
			fields[row.Field] = row.Value
		}
	}
	return fields, err
}

// profileField reads a field of a profile, nil when it is not there.
func profileField(ctx context.Context, r persistence.Reader, userID, field string) (jsontext.Value, error) {
	row, ok, err := schema.ProfileFields.Get(ctx, r, schema.ProfileField{UserID: userID, Field: field})
	if err != nil || !ok {
		return nil, err
	}
	return row.Value, nil
}
