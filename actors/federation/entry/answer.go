package entry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// joinAnswer is what a server answers to send_join, as far as it holds: events whose signatures are wrong are left out.
type joinAnswer struct {
	version *roomversion.Version
	roomID  string
	join    []byte                  // the event as the other server has it, nil when it does not say
	events  map[string]*event.Event // state and auth chain by id
	state   []string                // ids of the state before the join
	places  map[event.Tuple]bool    // of the state
	dropped int
}

var (
	errOtherEvent = errors.New("the event that came back is another one")
	errNoArray    = errors.New("state and auth_chain must be lists")
)

// chunk is how many events are checked at a time.
const chunk = 256

// readJoin reads the answer as it comes: what waits to be checked is one chunk at most.
func (h *Handshakes) readJoin(ctx context.Context, body io.Reader, version *roomversion.Version) (*joinAnswer, error) {
	a := &joinAnswer{version: version, events: map[string]*event.Event{}, places: map[event.Tuple]bool{}}
	d := jsontext.NewDecoder(body)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.Join(errors.New("it is no JSON object"), err)
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		switch name.String() {
		case "event":
			raw, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			a.join = slices.Clone(raw)
		case "state":
			err = h.readEvents(ctx, d, a, true)
		case "auth_chain":
			err = h.readEvents(ctx, d, a, false)
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken() // of the end
	return a, err
}

func (h *Handshakes) readEvents(ctx context.Context, d *jsontext.Decoder, a *joinAnswer, state bool) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != '[' {
		return errNoArray
	}
	var waiting [][]byte
	for d.PeekKind() != ']' {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		if waiting = append(waiting, slices.Clone(raw)); len(waiting) == chunk {
			if err := h.takeEvents(ctx, a, waiting, state); err != nil {
				return err
			}
			waiting = waiting[:0]
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	return h.takeEvents(ctx, a, waiting, state)
}

// takeEvents checks events and keeps the good ones. Bad ones are left out, as the rules for received events want; whether the room
// can do without them shows when it is made.
func (h *Handshakes) takeEvents(ctx context.Context, a *joinAnswer, raws [][]byte, state bool) error {
	for _, r := range h.d.Verifier.PDUs(ctx, raws, a.version) {
		if r.Err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			a.dropped++
			continue
		}
		id := r.Event.ID()
		if a.events[id] == nil {
			a.events[id] = r.Event
		}
		if !state {
			continue
		}
		if !r.Event.IsState() || a.places[r.Event.Tuple()] {
			return fmt.Errorf("%s is no state event, or the second of its place", id)
		}
		a.places[r.Event.Tuple()] = true
		a.state = append(a.state, id)
	}
	if len(a.events) > largestEvents {
		return fmt.Errorf("it has more than %d events", largestEvents)
	}
	return nil
}

// check wants a state that belongs to the room and can be one: with a create event of the version that the server named.
func (a *joinAnswer) check(join *event.Event) error {
	a.roomID = join.RoomID()
	for _, e := range a.events {
		if e.RoomID() != a.roomID {
			return fmt.Errorf("%s is of the room %.64q", e.ID(), e.RoomID())
		}
	}
	for _, id := range a.state {
		e := a.events[id]
		if e.Type() != "m.room.create" {
			continue
		}
		named := "1"
		if v := gjson.GetBytes(e.Content(), "room_version"); v.Exists() {
			named = v.Str
		}
		if named != a.version.ID {
			return fmt.Errorf("the room has version %.64q, not %s", named, a.version.ID)
		}
		return nil
	}
	return errors.New("the state has no create event")
}

// authOrder puts events after those that authorise them. Events that cite each other in a ring, which no honest server can make,
// come last, and the room refuses them.
func authOrder(events map[string]*event.Event) []*event.Event {
	order := make([]*event.Event, 0, len(events))
	wants := make(map[string]int, len(events))
	follows := make(map[string][]string, len(events))
	var ready []string
	for id, e := range events {
		for _, cited := range e.AuthEvents() {
			if events[cited] != nil {
				wants[id]++
				follows[cited] = append(follows[cited], id)
			}
		}
		if wants[id] == 0 {
			ready = append(ready, id)
		}
	}
	slices.Sort(ready)
	for len(ready) > 0 {
		id := ready[0]
		ready = ready[1:]
		order = append(order, events[id])
		for _, next := range follows[id] {
			if wants[next]--; wants[next] == 0 {
				ready = append(ready, next)
			}
		}
	}
	return order
}

// The bounds of one message with outliers; those of messages.AddOutliers are twice as large.
const (
	batchEvents = 256
	batchBytes  = 2 << 20
)

// batches cuts the events into messages.
func batches(events []*event.Event) iter.Seq[[]*event.Event] {
	return func(yield func([]*event.Event) bool) {
		start, size := 0, 0
		for i, e := range events {
			if i-start == batchEvents || size > 0 && size+len(e.JSON()) > batchBytes {
				if !yield(events[start:i]) {
					return
				}
				start, size = i, 0
			}
			size += len(e.JSON())
		}
		if start < len(events) {
			yield(events[start:])
		}
	}
}
