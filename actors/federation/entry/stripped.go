package entry

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxShown bounds how many events of a room's state are shown to those who are invited or knock.
const MaxShown = 100

// strippedEvent is an event of a room's state as those see it who are not in the room (client-server API, "Stripped state").
type strippedEvent struct {
	Type     *string        `json:"type"`
	StateKey *string        `json:"state_key"`
	Sender   *string        `json:"sender"`
	Content  jsontext.Value `json:"content"`
}

// Stripped is the state that another server shows of its room, reduced to what clients are given of it: a JSON array. Nothing of it is
// verified; it is what the other server says.
func Stripped(shown []jsontext.Value) ([]byte, error) {
	if len(shown) > MaxShown {
		return nil, fmt.Errorf("the room's state has more than %d events", MaxShown)
	}
	events := make([]strippedEvent, len(shown))
	for i, raw := range shown {
		e := &events[i]
		if err := json.Unmarshal(raw, e); err != nil {
			return nil, fmt.Errorf("the room's state: %w", err)
		}
		if e.Type == nil || e.StateKey == nil || e.Sender == nil || e.Content.Kind() != '{' {
			return nil, errors.New("an event of the room's state lacks type, state_key, sender or content")
		}
	}
	return json.Marshal(events, json.Deterministic(true))
}
