package destination

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/messages"
)

// ephemeralBound is how many notes of one kind are kept; what is beyond it is lost, as all of them may be.
const ephemeralBound = 1000

// After so long a note is stale, and dropped: the other server would have forgotten it by itself, or has newer.
const (
	typingStale   = 30 * time.Second
	receiptStale  = time.Hour
	presenceStale = 5 * time.Minute
)

// edu is one as it is sent (server-server API, "EDUs").
type edu struct {
	Type    string         `json:"edu_type"`
	Content jsontext.Value `json:"content"`
}

// note is the newest that is known of something.
type note[T any] struct {
	value T
	at    time.Time
}

type (
	typingKey  struct{ room, user string }
	receiptKey struct{ room, user, kind, thread string }
)

// ephemeral is what waits and may be lost: typing (by room and user), receipts (by thread as well) and presence (by user).
type ephemeral struct {
	typing   map[typingKey]note[bool]
	receipts map[receiptKey]note[*messages.ReceiptUpdate]
	presence map[string]note[*messages.PresenceUpdate]
	ready    []edu // those that did not fit into the last transaction
}

func (e *ephemeral) len() int {
	return len(e.typing) + len(e.receipts) + len(e.presence) + len(e.ready)
}

func (e *ephemeral) empty() bool { return e.len() == 0 }

// keep puts the newest in the place of what was, if there is room.
func keep[K comparable, T any](notes *map[K]note[T], key K, value T, now time.Time) {
	if *notes == nil {
		*notes = map[K]note[T]{}
	}
	if _, known := (*notes)[key]; known || len(*notes) < ephemeralBound {
		(*notes)[key] = note[T]{value, now}
	}
}

// take takes in what is told.
func (e *ephemeral) take(n *messages.EphemeralNotice, now time.Time) {
	for _, t := range n.Typing {
		keep(&e.typing, typingKey{n.RoomId, t.UserId}, t.Typing, now)
	}
	for _, r := range n.Receipts {
		keep(&e.receipts, receiptKey{n.RoomId, r.UserId, r.ReceiptType, r.ThreadId}, r, now)
	}
	for _, p := range n.Presences {
		keep(&e.presence, p.UserId, p, now)
	}
}

// putBack keeps what did not fit.
func (e *ephemeral) putBack(left []edu) {
	e.ready = append(left, e.ready...)
	e.ready = e.ready[:min(len(e.ready), ephemeralBound)]
}

// drain gives everything that is not stale as EDUs, and forgets it.
func (e *ephemeral) drain(now time.Time) []edu {
	all := e.ready
	for key, n := range e.typing {
		if now.Sub(n.at) <= typingStale {
			all = appendEDU(all, "m.typing", map[string]any{"room_id": key.room, "user_id": key.user, "typing": n.value})
		}
	}
	for _, content := range e.receiptContents(now) {
		all = appendEDU(all, "m.receipt", content)
	}
	if push := e.presences(now); len(push) > 0 {
		all = appendEDU(all, "m.presence", map[string]any{"push": push})
	}
	*e = ephemeral{}
	return all
}

type (
	receiptData struct {
		TS       int64  `json:"ts"`
		ThreadID string `json:"thread_id,omitempty"`
	}
	receipt struct {
		Data     receiptData `json:"data"`
		EventIDs []string    `json:"event_ids"`
	}
	// receiptContent is by room, receipt type and user.
	receiptContent map[string]map[string]map[string]receipt
)

// receiptContents are those of the fewest EDUs: one holds one receipt of a user in a room, so further threads need further ones.
func (e *ephemeral) receiptContents(now time.Time) []receiptContent {
	var contents []receiptContent
	for key, n := range e.receipts {
		if now.Sub(n.at) > receiptStale {
			continue
		}
		i := 0
		for i < len(contents) {
			if _, taken := contents[i][key.room][key.kind][key.user]; !taken {
				break
			}
			i++
		}
		if i == len(contents) {
			contents = append(contents, receiptContent{})
		}
		kinds := contents[i][key.room]
		if kinds == nil {
			kinds = map[string]map[string]receipt{}
			contents[i][key.room] = kinds
		}
		if kinds[key.kind] == nil {
			kinds[key.kind] = map[string]receipt{}
		}
		kinds[key.kind][key.user] = receipt{receiptData{n.value.Ts, n.value.ThreadId}, []string{n.value.EventId}}
	}
	return contents
}

type presenceContent struct {
	UserID          string `json:"user_id"`
	Presence        string `json:"presence"`
	StatusMsg       string `json:"status_msg,omitempty"`
	LastActiveAgo   int64  `json:"last_active_ago,omitzero"` // ms
	CurrentlyActive bool   `json:"currently_active"`
}

func (e *ephemeral) presences(now time.Time) []presenceContent {
	var push []presenceContent
	for userID, n := range e.presence {
		if now.Sub(n.at) > presenceStale {
			continue
		}
		p := presenceContent{UserID: userID, Presence: n.value.Presence, StatusMsg: n.value.StatusMsg, CurrentlyActive: n.value.Presence == "online"}
		if n.value.LastActiveTs > 0 {
			p.LastActiveAgo = max(now.UnixMilli()-n.value.LastActiveTs, 0)
		}
		push = append(push, p)
	}
	return push
}

// appendEDU adds an EDU whose content is of strings that came as JSON and of numbers, so that it can always be written.
func appendEDU(all []edu, kind string, content any) []edu {
	raw, err := json.Marshal(content)
	if err != nil {
		return all
	}
	return append(all, edu{kind, raw})
}
