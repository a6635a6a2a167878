package entry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
)

// joinAnswer is what a server answers to send_join, as far as it holds: events whose signatures are wrong are left out, and whether the
// room can do without them shows when it is made.
type joinAnswer struct {
	join   []byte               // the event as the other server has it, nil when it does not say
	events *pdus.Set            // state and auth chain
	state  []string             // ids of the state before the join
	places map[event.Tuple]bool // of the state
	// partial says that members are left out of the state; servers are then those in the room.
	partial bool
	servers []string
}

// mostNamed bounds how many servers an answer names that are looked at.
const mostNamed = 50_000

var errOtherEvent = errors.New("the event that came back is another one")

// readJoin reads the answer as it comes.
func (h *Handshakes) readJoin(ctx context.Context, body io.Reader, join *event.Event) (*joinAnswer, error) {
	a := &joinAnswer{events: pdus.NewSet(join.RoomID(), join.Version(), h.d.Verifier), places: map[event.Tuple]bool{}}
	d := pdus.NewDecoder(body)
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
			err = a.events.Read(ctx, d, a.place)
		case "auth_chain":
			err = a.events.Read(ctx, d, nil)
		case "members_omitted":
			err = readInto(d, &a.partial)
		case "servers_in_room":
			err = readInto(d, &a.servers)
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

// readInto reads a small value of the answer.
func readInto(d *pdus.Decoder, to any) error {
	raw, err := d.ReadValue()
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}

// inRoom are the servers in the room as the answer says, with the one that gave it.
func (a *joinAnswer) inRoom(server string) []string {
	named := append([]string{server}, a.servers[:min(len(a.servers), mostNamed)]...)
	return slices.DeleteFunc(named, func(name string) bool { return !id.ValidServerName(name) })
}

// place puts an event into the state.
func (a *joinAnswer) place(e *event.Event) error {
	if !e.IsState() || a.places[e.Tuple()] {
		return fmt.Errorf("%s is no state event, or the second of its place", e.ID())
	}
	a.places[e.Tuple()] = true
	a.state = append(a.state, e.ID())
	return nil
}

// check wants a state that can be one: with a create event of the version that the server named.
func (a *joinAnswer) check() error {
	for _, id := range a.state {
		e := a.events.Events[id]
		if e.Type() != "m.room.create" {
			continue
		}
		named := "1"
		if v := gjson.GetBytes(e.Content(), "room_version"); v.Exists() {
			named = v.Str
		}
		if named != a.events.Version.ID {
			return fmt.Errorf("the room has version %.64q, not %s", named, a.events.Version.ID)
		}
		return nil
	}
	return errors.New("the state has no create event")
}
