package account

import (
	"bytes"
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what one user may keep: the tags of a room and the push rules, in bytes of their JSON; the types of account
// data, for each room and outside of rooms; and filters.
const (
	maxTags      = 64 << 10
	maxPushRules = 512 << 10
	maxTypes     = 1000
	maxFilters   = 1000
)

// setAccountData stores account data and tells the user's devices (client-server API, "Client Config").
func (ops *operations) setAccountData(ctx context.Context, o *user.Op, m *messages.SetAccountData) (*messages.Done, error) {
	return &messages.Done{}, storeData(ctx, o, m.RoomId, m.Type, m.Content)
}

// fullyRead is the type, and the content, of the account data that says how far a room was read.
const fullyRead = "m.fully_read"

type fullyReadContent struct {
	EventID string `json:"event_id"`
}

// setFullyRead moves the marker (client-server API, "Fully read markers"). It goes back only when a client says that it means that
// (MSC4446): one that lags behind must not take away what another has read.
func (ops *operations) setFullyRead(ctx context.Context, o *user.Op, m *messages.SetFullyRead) (*messages.Done, error) {
	if !m.AllowBackward {
		later, err := later(ctx, o, m.RoomId, m.EventId)
		if err != nil || !later {
			return &messages.Done{}, err
		}
	}
	content, err := json.Marshal(fullyReadContent{m.EventId})
	if err != nil {
		return nil, err
	}
	return &messages.Done{}, storeData(ctx, o, m.RoomId, fullyRead, content)
}

// later reports whether an event comes after the one at the marker. Every event does when there is none.
func later(ctx context.Context, o *user.Op, roomID, eventID string) (bool, error) {
	row, _, err := schema.AccountDatas.Get(ctx, o.Store, schema.AccountData{UserID: o.UserID, RoomID: roomID, Type: fullyRead})
	if err != nil {
		return false, err
	}
	at, ok, err := schema.EventsByID.Get(ctx, o.Store, schema.EventByID{RoomID: roomID, EventID: gjson.GetBytes(row.Content, "event_id").Str})
	if err != nil || !ok {
		return true, err
	}
	to, ok, err := schema.EventsByID.Get(ctx, o.Store, schema.EventByID{RoomID: roomID, EventID: eventID})
	return !ok || to.Seq > at.Seq, err
}

// storeData writes one piece of account data unless it is there already. Empty content deletes it (MSC3391): a row without content
// stays, from which syncs learn of it.
func storeData(ctx context.Context, o *user.Op, roomID, kind string, content []byte) error {
	row := schema.AccountData{UserID: o.UserID, RoomID: roomID, Type: kind}
	old, ok, err := schema.AccountDatas.Get(ctx, o.Store, row)
	if err != nil {
		return err
	}
	if ok && bytes.Equal(old.Content, content) || !ok && len(content) == 0 {
		return nil
	}
	var writes []persistence.Mutation
	if !ok {
		if writes, err = spaceForData(ctx, o, roomID); err != nil {
			return err
		}
	}
	if len(content) > 0 {
		row.Content = content
	}
	writes = append(writes, schema.AccountDatas.Put(row))
	notice := &messages.UserNotice{AccountData: roomID == ""}
	if roomID != "" {
		notice.AccountRooms = []string{roomID}
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{User: notice})
	return err
}

// spaceForData makes space for another type of account data, by forgetting what has been deleted; it refuses when nothing has.
func spaceForData(ctx context.Context, o *user.Op, roomID string) ([]persistence.Mutation, error) {
	rows, err := schema.AccountDatas.All(ctx, o.Store, persistence.Range[schema.AccountData]{
		Prefix: schema.AccountData{UserID: o.UserID, RoomID: roomID}, Keys: 2, Limit: maxTypes})
	if err != nil || len(rows) < maxTypes {
		return nil, err
	}
	var writes []persistence.Mutation
	for _, row := range rows {
		if len(row.Content) == 0 {
			writes = append(writes, schema.AccountDatas.Delete(row))
		}
	}
	if len(writes) == 0 {
		return nil, mxerr.TooLarge("you have %d types of account data in one place already, which is the most", len(rows))
	}
	return writes, nil
}

// roomFor refuses when there are as many rows as the range's limit.
func roomFor[R any](ctx context.Context, o *user.Op, table *persistence.Table[R], of persistence.Range[R], what string) error {
	rows, err := table.All(ctx, o.Store, of)
	if err == nil && len(rows) >= of.Limit {
		err = mxerr.TooLarge("you have %d %s already, which is the most", len(rows), what)
	}
	return err
}

// tagContent is the content of m.tag (client-server API, "Room Tagging").
type tagContent struct {
	Tags    map[string]jsontext.Value `json:"tags"`
	Unknown jsontext.Value            `json:",embed"`
}

// setTag adds, replaces or removes a tag of a room.
func (ops *operations) setTag(ctx context.Context, o *user.Op, m *messages.SetTag) (*messages.Done, error) {
	row, ok, err := schema.AccountDatas.Get(ctx, o.Store, schema.AccountData{UserID: o.UserID, RoomID: m.RoomId, Type: "m.tag"})
	if err != nil {
		return nil, err
	}
	var content tagContent
	if ok {
		// A client may have put anything in the place of m.tag; then the tags begin anew.
		if err := json.Unmarshal(row.Content, &content); err != nil {
			content = tagContent{}
		}
	}
	if content.Tags == nil {
		content.Tags = map[string]jsontext.Value{}
	}
	if len(m.Content) > 0 {
		content.Tags[m.Tag] = m.Content
	} else {
		if _, tagged := content.Tags[m.Tag]; !tagged {
			return &messages.Done{}, nil
		}
		delete(content.Tags, m.Tag)
	}
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxTags {
		return nil, mxerr.TooLarge("the room's tags would be larger than %d bytes", maxTags)
	}
	return &messages.Done{}, storeData(ctx, o, m.RoomId, "m.tag", raw)
}

// storeFilter stores a filter; the same filter has the same id, so nothing is stored twice.
func (ops *operations) storeFilter(ctx context.Context, o *user.Op, m *messages.StoreFilter) (*messages.Done, error) {
	row := schema.Filter{UserID: o.UserID, FilterID: m.FilterId, JSON: m.Json}
	_, ok, err := schema.Filters.Get(ctx, o.Store, row)
	if err != nil || ok {
		return &messages.Done{}, err
	}
	of := persistence.Range[schema.Filter]{Prefix: row, Keys: 1, Limit: maxFilters}
	if err := roomFor(ctx, o, schema.Filters, of, "filters"); err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, []persistence.Mutation{schema.Filters.Put(row)}, nil, user.Notices{})
	return &messages.Done{}, err
}
