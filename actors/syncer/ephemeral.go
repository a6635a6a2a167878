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
		e, err := b.receipts(st)
		if err != nil {
			return nil, err
		}
		if e != nil {
			events = append(events, e)
		}
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

// Receipts collects receipts for an event that tells a user of them.
type Receipts struct {
	userID  string
	ignored map[string]bool
	content map[string]map[string]map[string]Receipt // by event, type and user
}

// NewReceipts begins a collection for the user.
func NewReceipts(userID string, ignored map[string]bool) *Receipts {
	return &Receipts{userID, ignored, map[string]map[string]map[string]Receipt{}}
}

// Add takes a receipt in, unless it is another's private one or of somebody who is ignored.
func (r *Receipts) Add(row schema.Receipt) {
	if r.ignored[row.UserID] || row.Type == "m.read.private" && row.UserID != r.userID {
		return
	}
	byType := r.content[row.EventID]
	if byType == nil {
		byType = map[string]map[string]Receipt{}
		r.content[row.EventID] = byType
	}
	put2(byType, row.Type, row.UserID, Receipt{TS: row.TS, ThreadID: row.ThreadID})
}

// Event is the event with the receipts, nil if there are none.
func (r *Receipts) Event() (jsontext.Value, error) {
	if len(r.content) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(r.content)
	return clientEvent("m.receipt", "", raw), err
}

// Receipt is what m.receipt says of one user's reading.
type Receipt struct {
	TS       int64  `json:"ts"`
	ThreadID string `json:"thread_id,omitempty"`
}

// receipts gives the receipts that moved since the token; private ones are the user's own only.
func (b *builder) receipts(st stretch) (jsontext.Value, error) {
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
	return found.Event()
}

func put2[V any](m map[string]map[string]V, a, b string, v V) {
	if m[a] == nil {
		m[a] = map[string]V{}
	}
	m[a][b] = v
}
