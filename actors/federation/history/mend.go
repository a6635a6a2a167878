package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what is fetched for one event.
const (
	// askedEvents is how many missing events are asked for at once, and rounds how often.
	askedEvents = 50
	rounds      = 10
	// mostEnds is how many events get the state before them from elsewhere, each of which is a request or more.
	mostEnds = 10
	// mostChains is how many auth chains are fetched for one batch of events.
	mostChains = 10
	// mostReceived is how many PDUs one messages.ReceivePdus takes.
	mostReceived = 50
)

var (
	errUnplaced = errors.New("what is missing cannot be had")
	errNoEvents = errors.New("what it gives as the missing events is no event")
	errHelping  = errors.New("it is being asked about many rooms")
)

// place puts an event into its room that the room could not take for want of others, with the help of the server that sent it, or else
// of others in the room. It returns nil when the room has decided about the event, whatever it decided. Servers that do not answer are added
// to the silent, which are not asked.
func (h *History) place(ctx context.Context, in room, origin string, e *event.Event, silent map[string]bool) error {
	left, err := h.receive(ctx, in, origin, []*event.Event{e})
	if err != nil || len(left) == 0 {
		return err
	}
	servers, err := h.servers(ctx, in.id, origin)
	if err != nil {
		return err
	}
	place := h.placeFrom
	if joined, ok, err := reader.JoinedPartially(ctx, h.d.Store, in.id); err != nil {
		return err
	} else if ok && !joined.Whole {
		place = h.placePartially
	}
	err = errUnplaced
	for _, server := range servers {
		if silent[server] {
			continue
		}
		err = h.withHelp(ctx, server, func(ctx context.Context) error { return place(ctx, in, server, e) })
		if err == nil || ctx.Err() != nil {
			return err
		}
		silent[server] = federation.IsUnreachable(err)
		h.d.Log.Info("what a room is missing could not be fetched from a server", "room", in.id, "event", e.ID(), "server", server, "error", err)
	}
	return err
}

// withHelp asks one server for what helps a room, for serverPatience at most. One that helps many rooms already is unreachable for the rest,
// so that a slow server leaves turns to the rooms of others.
func (h *History) withHelp(ctx context.Context, server string, ask func(ctx context.Context) error) error {
	h.mu.Lock()
	helping := h.helping[server] < roomsOfOne
	if helping {
		h.helping[server]++
	}
	h.mu.Unlock()
	if !helping {
		return federation.Unreachable(errHelping)
	}
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.helping[server]--; h.helping[server] == 0 {
			delete(h.helping, server)
		}
	}()
	asking, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	err := ask(asking)
	if err != nil && asking.Err() != nil {
		err = federation.Unreachable(err)
	}
	return err
}

// placeFrom fetches what is missing from one server.
func (h *History) placeFrom(ctx context.Context, in room, server string, e *event.Event) error {
	found := map[string]*event.Event{e.ID(): e}
	for range rounds {
		before := len(found)
		if err := h.walk(ctx, in, server, found); err != nil {
			return err
		}
		if len(found) == before {
			break
		}
	}
	if err := h.receiveWith(ctx, in, server, e, found); !errors.Is(err, errUnplaced) {
		return err
	}
	// What is still missing is too much, or nobody has it: the room goes on from the state before the oldest events.
	ends, err := h.ends(ctx, in, found)
	if err != nil {
		return err
	}
	for _, end := range ends {
		if err := h.placeAt(ctx, in, server, end, end != e); err != nil {
			return err
		}
	}
	return h.receiveWith(ctx, in, server, e, found)
}

// receiveWith gives the room an event with all that was found for it; errUnplaced when it still cannot take the event.
func (h *History) receiveWith(ctx context.Context, in room, server string, e *event.Event, found map[string]*event.Event) error {
	left, err := h.receive(ctx, in, server, ordered(found))
	if err == nil && slices.Contains(left, e) {
		err = errUnplaced
	}
	return err
}

// placePartially is placeFrom for a room whose members are not known yet. When the event follows others from before this server came, those are
// history like what is before the join, and the state before the event is told with the members (messages.TellState).
func (h *History) placePartially(ctx context.Context, in room, server string, e *event.Event) error {
	found := map[string]*event.Event{e.ID(): e}
	if err := h.walk(ctx, in, server, found); err != nil {
		return err
	}
	events, err := h.connected(ctx, in, found)
	if err != nil {
		return err
	}
	left, err := h.receive(ctx, in, server, events)
	if err != nil || slices.Contains(events, e) && !slices.Contains(left, e) {
		return err
	}
	ends, err := h.ends(ctx, in, found)
	if err != nil {
		return err
	}
	for _, end := range ends {
		if err = h.receiveAt(ctx, in, server, end, nil); err != nil {
			break
		}
	}
	if joined, ok, failed := reader.JoinedPartially(ctx, h.d.Store, in.id); errors.Is(err, errUnplaced) && failed == nil && (!ok || joined.Whole) {
		return h.placeFrom(ctx, in, server, e) // the members have become known meanwhile
	}
	if err != nil {
		return err
	}
	return h.receiveWith(ctx, in, server, e, found)
}

// connected are those of the events, in order, that follow what is here.
func (h *History) connected(ctx context.Context, in room, found map[string]*event.Event) ([]*event.Event, error) {
	var events []*event.Event
	reached := map[string]*event.Event{}
	for _, e := range ordered(found) {
		missing, err := h.missingPrev(ctx, in, e, reached)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			reached[e.ID()] = e
			events = append(events, e)
		}
	}
	return events, nil
}

// walk asks for the predecessors of the oldest of what was found. A server that gives something as them that is no event is not asked further:
// what it tells of the state there is worth no more.
func (h *History) walk(ctx context.Context, in room, server string, found map[string]*event.Event) error {
	ends, err := h.ends(ctx, in, found)
	if err != nil || len(ends) == 0 { // it is not predecessors that are missing
		return err
	}
	var latest []string
	for _, end := range ends {
		latest = append(latest, end.ID())
	}
	newest, ok, err := h.d.Reader.Last(ctx, in.id, 1<<62)
	if err != nil {
		return err
	}
	earliest := []string{}
	if ok {
		earliest = append(earliest, newest.EventID)
	}
	set, err := h.missing(ctx, server, in, earliest, latest, askedEvents)
	if err != nil {
		return err
	}
	before := len(found)
	if err := h.follow(ctx, in, latest, set, found); err != nil {
		return err
	}
	if len(found) == before && set.Dropped > 0 {
		return errNoEvents
	}
	return nil
}

// follow adds to what was found those of the set's events that lead from it to events which are here. The server does not know where that
// is, and goes on to what came before: that is no news, and is fetched when somebody scrolls back.
func (h *History) follow(ctx context.Context, in room, from []string, set *pdus.Set, found map[string]*event.Event) error {
	for len(from) > 0 {
		e := found[from[0]]
		from = from[1:]
		for _, id := range e.PrevEvents() {
			if found[id] != nil || set.Events[id] == nil {
				continue
			}
			here, err := h.placed(ctx, in, id)
			if err != nil {
				return err
			}
			if !here {
				found[id] = set.Events[id]
				from = append(from, id)
			}
		}
	}
	return nil
}

// ends are the events at the far end of what was found: those that cite events which were not, and are not here. The oldest come first.
func (h *History) ends(ctx context.Context, in room, found map[string]*event.Event) ([]*event.Event, error) {
	var ends []*event.Event
	for _, e := range found {
		missing, err := h.missingPrev(ctx, in, e, found)
		if err != nil {
			return nil, err
		}
		if len(missing) > 0 {
			ends = append(ends, e)
		}
	}
	slices.SortFunc(ends, func(a, b *event.Event) int {
		return cmp.Or(cmp.Compare(a.Depth(), b.Depth()), cmp.Compare(a.ID(), b.ID()))
	})
	return ends[:min(len(ends), mostEnds)], nil
}

// missingPrev are the events before the event that neither have a place here nor were found.
func (h *History) missingPrev(ctx context.Context, in room, e *event.Event, found map[string]*event.Event) (missing []string, err error) {
	for _, id := range e.PrevEvents() {
		if found[id] != nil {
			continue
		}
		here, err := h.placed(ctx, in, id)
		if err != nil {
			return nil, err
		}
		if !here {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// placed reports whether the room has an event in its graph.
func (h *History) placed(ctx context.Context, in room, eventID string) (bool, error) {
	row, ok, err := h.d.Reader.Stored(ctx, in.id, eventID)
	return ok && row.Status != schema.Outlier, err
}

// ordered puts events after their predecessors.
func ordered(found map[string]*event.Event) []*event.Event {
	return event.Ordered(found, (*event.Event).PrevEvents)
}

// receive gives events to the room, in order, and gives those that it still cannot take. Auth chains that it lacks are fetched for events
// that lack nothing else: those of others come with the state before them.
func (h *History) receive(ctx context.Context, in room, server string, events []*event.Event) ([]*event.Event, error) {
	var left []*event.Event
	for batch := range slices.Chunk(events, mostReceived) {
		results, err := h.receiveBatch(ctx, in, server, batch)
		if err != nil {
			return nil, err
		}
		tried := map[string]bool{}
		for len(tried) < mostChains {
			// What authorises one event mostly authorises those after it, so that they are tried again before more is fetched.
			i := slices.IndexFunc(results, func(r *messages.PduResult) bool {
				return r.Status == messages.PduResult_MISSING && len(r.MissingAuth) > 0 && len(r.MissingPrev) == 0 && !tried[r.EventId]
			})
			if i < 0 {
				break
			}
			tried[results[i].EventId] = true
			if err := h.authorising(ctx, server, in, results[i]); err != nil {
				return nil, err
			}
			if results, err = h.receiveBatch(ctx, in, server, batch); err != nil {
				return nil, err
			}
		}
		for i, r := range results {
			if r.Status == messages.PduResult_MISSING {
				left = append(left, batch[i])
			}
		}
	}
	return left, nil
}

func (h *History) receiveBatch(ctx context.Context, in room, server string, batch []*event.Event) ([]*messages.PduResult, error) {
	vouched, err := h.d.Policy.Vouch(ctx, in.id, batch...)
	if err != nil {
		return nil, err
	}
	request := &messages.ReceivePdus{Origin: server, Pdus: vouched}
	answer, err := ask[*messages.PduResults](ctx, h, in.id, request)
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != len(batch) {
		return nil, fmt.Errorf("history: %d results for %d events", len(answer.Results), len(batch))
	}
	return answer.Results, nil
}

// placeAt has the room take an event with the state before it as the other server tells it.
func (h *History) placeAt(ctx context.Context, in room, server string, e *event.Event, divulged bool) error {
	state, _, err := h.stateAt(ctx, server, in, e, divulged)
	if err != nil {
		return err
	}
	return h.receiveAt(ctx, in, server, e, state)
}

func (h *History) receiveAt(ctx context.Context, in room, server string, e *event.Event, state []string) error {
	vouched, err := h.d.Policy.Vouch(ctx, in.id, e)
	if err != nil {
		return err
	}
	for range 2 {
		answer, err := ask[*messages.PduResults](ctx, h, in.id, &messages.ReceivePduAt{Origin: server, Pdu: vouched[0], StateBefore: state})
		if err != nil {
			return err
		}
		if len(answer.Results) != 1 || answer.Results[0].Status != messages.PduResult_MISSING {
			return nil
		}
		if len(answer.Results[0].MissingAuth) == 0 { // too much of a room waits for its members
			return errUnplaced
		}
		if err := h.authorising(ctx, server, in, answer.Results[0]); err != nil {
			return err
		}
	}
	return errUnplaced
}
