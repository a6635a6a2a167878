package entry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
)

// joinAnswer is what a server answers to send_join, besides the account of state and auth chain, as far as it holds: events whose signatures
// are wrong are left out, and whether the room can do without them shows when it is made.
type joinAnswer struct {
	join    []byte   // the event as the other server has it, nil when it does not say
	state   []string // ids of the state before the join, but members
	members []string // ids of the members in it
	places  map[event.Tuple]bool
	// create is the create event in the state.
	create *event.Event
	// partial says that members are left out of the state; servers are then those in the room. present are those of the members.
	partial bool
	servers []string
	present map[string]bool
}

// mostNamed bounds how many servers an answer names that are looked at.
const mostNamed = 50_000

var errOtherEvent = errors.New("the event that came back is another one")

// readJoin reads the answer as it comes. That of the older endpoint is a list of a status and the answer.
func readJoin(ctx context.Context, body io.Reader, account *pdus.Account, older bool) (*joinAnswer, error) {
	a := &joinAnswer{places: map[event.Tuple]bool{}, present: map[string]bool{}}
	d := pdus.NewDecoder(body)
	if older {
		for _, kind := range [...]jsontext.Kind{'[', '0'} {
			if t, err := d.ReadToken(); err != nil || t.Kind() != kind {
				return nil, errors.Join(errors.New("it is no list of a status and an answer"), err)
			}
		}
	}
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
			err = account.Read(ctx, d, a.place)
		case "auth_chain":
			err = account.Read(ctx, d, nil)
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
	if !a.partial {
		named = append(named[:1], slices.Sorted(maps.Keys(a.present))...)
	}
	return slices.DeleteFunc(named, func(name string) bool { return !id.ValidServerName(name) })
}

// place puts an event into the state. What is noted of it is cloned, so that it does not hold the event.
func (a *joinAnswer) place(e *event.Event) error {
	place := event.Tuple{Type: strings.Clone(e.Type()), StateKey: strings.Clone(e.Tuple().StateKey)}
	if !e.IsState() || a.places[place] {
		return fmt.Errorf("%s is no state event, or the second of its place", e.ID())
	}
	a.places[place] = true
	eventID := strings.Clone(e.ID())
	switch {
	case place.Type == "m.room.member":
		a.members = append(a.members, eventID)
		if e.Membership() == "join" && len(a.present) < mostNamed {
			a.present[id.ServerOf(place.StateKey)] = true
		}
		return nil
	case place == event.Tuple{Type: "m.room.create"}:
		a.create = e
	}
	a.state = append(a.state, eventID)
	return nil
}

// check wants a state that can be one: with a create event of the version that the server named.
func (a *joinAnswer) check() error {
	if a.create == nil {
		return errors.New("the state has no create event")
	}
	named := "1"
	if v := gjson.GetBytes(a.create.Content(), "room_version"); v.Exists() {
		named = v.Str
	}
	if version := a.create.Version().ID; named != version {
		return fmt.Errorf("the room has version %.64q, not %s", named, version)
	}
	return nil
}
