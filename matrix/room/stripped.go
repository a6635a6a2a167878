package room

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// strippedTypes are the state events that let a potential joiner identify the room
// (client-server API, "Stripped state").
var strippedTypes = []string{
	"m.room.create", "m.room.name", "m.room.avatar", "m.room.topic",
	"m.room.join_rules", "m.room.canonical_alias", "m.room.encryption",
}

// StrippedTypes are the types of the state events that are shown of a room to those who are invited or knock, with empty state keys.
func StrippedTypes() []string { return slices.Clone(strippedTypes) }

type strippedEvent struct {
	Type     string         `json:"type"`
	StateKey string         `json:"state_key"`
	Sender   string         `json:"sender"`
	Content  jsontext.Value `json:"content"`
}

// strippedState is what the invited or knocking user may know of the room: a JSON array that ends with the member event.
func (d *draft) strippedState(member *event.Event) []byte {
	var events []strippedEvent
	for _, t := range strippedTypes {
		if e := d.Event(event.Tuple{Type: t}); e != nil {
			events = append(events, strip(e))
		}
	}
	raw, err := json.Marshal(append(events, strip(member)))
	if err != nil {
		// Contents of events are valid JSON; nothing else can fail.
		return []byte("[]")
	}
	return raw
}

func strip(e *event.Event) strippedEvent {
	stateKey, _ := e.StateKey()
	return strippedEvent{Type: e.Type(), StateKey: stateKey, Sender: e.Sender(), Content: jsontext.Value(e.Content())}
}

// withStripped gives the stripped state that another server has sent, a JSON array, with the member event that it belongs to.
func withStripped(raw []byte, member *event.Event) ([]byte, error) {
	var events []strippedEvent
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &events); err != nil {
			return nil, mxerr.BadJSON("the stripped state: %v", err)
		}
	}
	own := strip(member)
	events = slices.DeleteFunc(events, func(e strippedEvent) bool { return e.Type == own.Type && e.StateKey == own.StateKey })
	return json.Marshal(append(events, own))
}
