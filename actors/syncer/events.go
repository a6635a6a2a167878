package syncer

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/persistence/schema"
)

// clientEvent writes {"content":…,"type":…}, with a sender if there is one.
func clientEvent(typ, sender string, content []byte) jsontext.Value {
	if len(content) == 0 { // account data that was deleted (MSC3391)
		content = []byte("{}")
	}
	b := make([]byte, 0, len(content)+len(typ)+len(sender)+48)
	b = append(append(b, `{"content":`...), content...)
	if sender != "" {
		b = canonicaljson.AppendString(append(b, `,"sender":`...), sender)
	}
	b = canonicaljson.AppendString(append(b, `,"type":`...), typ)
	return append(b, '}')
}

func toDeviceEvent(row schema.ToDevice) jsontext.Value {
	return clientEvent(row.Type, row.Sender, row.Content)
}

// AccountEvents are account data as clients get them.
func AccountEvents(rows []schema.AccountData) []jsontext.Value {
	events := make([]jsontext.Value, len(rows))
	for i, row := range rows {
		events[i] = clientEvent(row.Type, "", row.Content)
	}
	return events
}

func keepAccountData(f *filter.Event, rows []schema.AccountData) []schema.AccountData {
	return slices.DeleteFunc(rows, func(row schema.AccountData) bool { return !f.KeepsType(row.Type) })
}

// WithPushRules adds the default push rules for users who never changed theirs, and completes those of others.
func WithPushRules(userID string, rows []schema.AccountData) ([]schema.AccountData, error) {
	const typ = "m.push_rules"
	i := slices.IndexFunc(rows, func(row schema.AccountData) bool { return row.Type == typ })
	if i < 0 {
		i = len(rows)
		rows = append(rows, schema.AccountData{Type: typ})
	}
	rules, err := pushrules.Stored(userID, rows[i].Content)
	if err != nil {
		return nil, err
	}
	rows[i].Content, err = rules.JSON()
	return rows, err
}

// trim leaves only the fields that the filter asks for.
func (b *builder) trim(events []jsontext.Value) {
	if len(b.req.Filter.EventFields) == 0 {
		return
	}
	for i, e := range events {
		events[i] = b.req.Filter.Trim(e)
	}
}

// keepState applies the filter of the state to the events.
func (b *builder) keepState(roomID string, rows []schema.Event) []schema.Event {
	f := &b.req.Filter.Room.State
	if !f.KeepsRoom(roomID) {
		return nil
	}
	rows = slices.DeleteFunc(rows, func(row schema.Event) bool {
		return !f.Keeps(row.Sender, row.Type) || f.AsksContent() && !f.KeepsContent([]byte(gjson.GetBytes(row.JSON, "content").Raw))
	})
	if f.Limit > 0 && len(rows) > f.Limit {
		rows = rows[:f.Limit]
	}
	return rows
}

// arrayOf takes a JSON array apart.
func arrayOf(raw []byte) []jsontext.Value {
	values := []jsontext.Value{}
	gjson.ParseBytes(raw).ForEach(func(_, v gjson.Result) bool {
		values = append(values, jsontext.Value(v.Raw))
		return true
	})
	return values
}
