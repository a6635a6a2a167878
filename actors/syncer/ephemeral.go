package syncer

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// ephemeral gives a room's typing notifications and receipts, nil if there are none.
func (b *builder) ephemeral(st stretch, plan *messages.RoomPlan) (*Events, error) {
	f := &b.req.Filter.Room.Ephemeral
	if !f.KeepsRoom(st.room) {
		return nil, nil
	}
	var events []jsontext.Value
	if plan.TypingChanged && f.KeepsType("m.typing") {
		e, err := b.typing(plan.Typing)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if (plan.Receipts || st.fresh) && f.KeepsType("m.receipt") {
		receipts, err := b.receipts(st)
		if err != nil {
			return nil, err
		}
		events = append(events, receipts...)
	}
	if len(events) == 0 {
		return nil, nil
	}
	return &Events{events}, nil
}

func (b *builder) typing(users []string) (jsontext.Value, error) {
	return Typing(slices.DeleteFunc(slices.Clone(users), func(u string) bool { return b.ignored[u] }))
}

// Typing is the event that says who is typing.
func Typing(users []string) (jsontext.Value, error) {
	if users == nil {
		users = []string{}
	}
	content, err := json.Marshal(map[string][]string{"user_ids": users})
	return clientEvent("m.typing", "", content), err
}

// Receipts collects receipts for events that tell a user of them. One event has room for one receipt of a user, a type and an event that was
// read: who has read it both in its thread and without regard to threads is in a second one.
type Receipts struct {
	userID   string
	ignored  map[string]bool
	contents []receiptContent
}

// receiptContent is the content of m.receipt: by event, type and user.
type receiptContent map[string]map[string]map[string]Receipt

// NewReceipts begins a collection for the user.
func NewReceipts(userID string, ignored map[string]bool) *Receipts {
	return &Receipts{userID: userID, ignored: ignored}
}

// Add takes a receipt in, unless it is another's private one or of somebody who is ignored.
func (r *Receipts) Add(row schema.Receipt) {
	if r.ignored[row.UserID] || row.Type == "m.read.private" && row.UserID != r.userID {
		return
	}
	i := slices.IndexFunc(r.contents, func(c receiptContent) bool { _, taken := c[row.EventID][row.Type][row.UserID]; return !taken })
	if i < 0 {
		i = len(r.contents)
		r.contents = append(r.contents, receiptContent{})
	}
	byType := r.contents[i][row.EventID]
	if byType == nil {
		byType = map[string]map[string]Receipt{}
		r.contents[i][row.EventID] = byType
	}
	put2(byType, row.Type, row.UserID, Receipt{TS: row.TS, ThreadID: row.ThreadID})
}

// Events are the events with the receipts.
func (r *Receipts) Events() ([]jsontext.Value, error) {
	events := make([]jsontext.Value, len(r.contents))
	for i, content := range r.contents {
		raw, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		events[i] = clientEvent("m.receipt", "", raw)
	}
	return events, nil
}

// Receipt is what m.receipt says of one user's reading.
type Receipt struct {
	TS       int64  `json:"ts"`
	ThreadID string `json:"thread_id,omitempty"`
}

// receipts gives the receipts that moved since the token; private ones are the user's own only.
func (b *builder) receipts(st stretch) ([]jsontext.Value, error) {
	since := b.plan.SincePos
	if st.fresh {
		since = 0
	}
	found := NewReceipts(b.req.UserID, b.ignored)
	for row, err := range schema.Receipts.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.Receipt]{
		Prefix: schema.Receipt{RoomID: st.room}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if row.Pos > since {
			found.Add(row)
		}
	}
	return found.Events()
}

func put2[V any](m map[string]map[string]V, a, b string, v V) {
	if m[a] == nil {
		m[a] = map[string]V{}
	}
	m[a][b] = v
}
