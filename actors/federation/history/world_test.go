package history

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const roomID = "!room:b.example"

var key = signing.NewKey("k", make([]byte, ed25519.SeedSize))

// keys is the key, while it can be had.
type keys struct{ gone atomic.Bool }

func (k *keys) Key(context.Context, string, string, int64) (ed25519.PublicKey, error) {
	if k.gone.Load() {
		return nil, federation.ErrKeyUnavailable
	}
	return key.Public(), nil
}

// world is a room with a history in one line, other servers that have all of it, and this server, which has some.
type world struct {
	*History
	t       *testing.T
	version *roomversion.Version
	now     time.Time
	line    []*event.Event // the history; its first event is the create event
	keys    *keys

	mu      sync.Mutex
	refuses map[string]bool                 // servers that do not answer
	blind   map[string]bool                 // servers that give no missing events and no history
	most    int                             // events that a server gives at once
	asked   []string                        // servers and endpoints
	placed  []string                        // ids, in the order in which the room took them
	known   map[string]bool                 // placed, or outliers
	states  map[string][]string             // of the events that were placed with a state
	gaps    map[uint64][]*messages.Backfill // what was filled
}

func newWorld(t *testing.T, length int) *world {
	t.Helper()
	version, _ := roomversion.Get("10")
	w := &world{t: t, version: version, keys: &keys{}, now: time.UnixMilli(1_000_000), refuses: map[string]bool{}, blind: map[string]bool{}, most: 20,
		known: map[string]bool{}, states: map[string][]string{}, gaps: map[uint64][]*messages.Backfill{}}
	store := memory.New(memory.Options{})
	t.Cleanup(func() { _ = store.Close() })
	r := reader.New(store, func() time.Time { return w.now }, "")
	w.History = New(Deps{ServerName: "a.example", Store: store, Reader: r, Rooms: w, Servers: w, Verifier: verify.New(w.keys, 2), Policy: &policy.Servers{Reader: r},
		Leads: func() bool { return true }, Mine: func(string) bool { return true }, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(w.Close)
	w.write(schema.Rooms.Put(schema.Room{RoomID: roomID, Version: version.ID}),
		schema.RoomServers.Put(schema.RoomServer{RoomID: roomID, Server: "b.example", Joined: 2, JoinedSeq: 1}),
		schema.RoomServers.Put(schema.RoomServer{RoomID: roomID, Server: "c.example", Joined: 1, JoinedSeq: 1}))
	for i := range length {
		p := event.Proto{Type: "m.room.message", Sender: "@u:b.example", RoomID: roomID, Content: []byte(`{"n":` + strconv.Itoa(i) + `}`), Depth: int64(i + 1), OriginServerTS: int64(i + 1)}
		if i == 0 {
			empty := ""
			p.Type, p.StateKey = "m.room.create", &empty
		} else {
			p.PrevEvents, p.AuthEvents = []string{w.line[i-1].ID()}, []string{w.line[0].ID()}
		}
		e, err := event.Build(p, version, "b.example", key)
		if err != nil {
			t.Fatal(err)
		}
		w.line = append(w.line, e)
	}
	w.take(w.line[0])
	return w
}

func (w *world) write(m ...persistence.Mutation) {
	w.t.Helper()
	if _, err := persistence.Await(context.Background(), w.d.Store, &persistence.Commit{Write: m}); err != nil {
		w.t.Error(err)
	}
}

// take makes an event known to this server, in its place.
func (w *world) take(e *event.Event) {
	w.placed = append(w.placed, e.ID())
	w.write(schema.RoomPositions.Put(schema.RoomPosition{RoomID: roomID, Seq: uint64(len(w.placed))}))
	w.keep(e, uint64(len(w.placed)), schema.Accepted)
}

func (w *world) keep(e *event.Event, seq, status uint64) {
	w.known[e.ID()] = true
	w.write(schema.Events.Put(schema.Event{RoomID: roomID, Seq: seq, EventID: e.ID(), Type: e.Type(), Status: status, JSON: e.JSON()}),
		schema.EventsByID.Put(schema.EventByID{RoomID: roomID, EventID: e.ID(), Seq: seq}))
}

// Ask is the room's actor: it takes what it has the predecessors of.
func (w *world) Ask(_ context.Context, _ cluster.Identity, request proto.Message) (proto.Message, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer := &messages.PduResults{}
	switch m := request.(type) {
	case *messages.ReceivePdus:
		for _, p := range m.Pdus {
			answer.Results = append(answer.Results, w.receive(p, nil))
		}
	case *messages.ReceivePduAt:
		answer.Results = append(answer.Results, w.receive(m.Pdu, m.StateBefore))
	case *messages.AddOutliers:
		for _, p := range m.Pdus {
			e := w.parse(p)
			if !w.known[e.ID()] {
				w.keep(e, schema.OutlierBase+uint64(len(w.known)), schema.Outlier)
			}
			answer.Results = append(answer.Results, &messages.PduResult{EventId: p.EventId})
		}
	case *messages.Backfill:
		w.gaps[m.Gap] = append(w.gaps[m.Gap], m)
		for _, p := range m.Pdus {
			answer.Results = append(answer.Results, &messages.PduResult{EventId: p.EventId})
		}
	default:
		return nil, mxerr.Unknown("%T", request)
	}
	return answer, nil
}

func (w *world) Tell(cluster.Identity, proto.Message)            {}
func (w *world) TellActive(cluster.Identity, proto.Message) bool { return false }

func (w *world) parse(p *messages.Pdu) *event.Event {
	e, err := event.FromStored(p.Json, p.EventId, w.version)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) receive(p *messages.Pdu, state []string) *messages.PduResult {
	e := w.parse(p)
	result := &messages.PduResult{EventId: p.EventId}
	if slices.Contains(w.placed, e.ID()) {
		result.Status = messages.PduResult_KNOWN
		return result
	}
	for _, id := range e.AuthEvents() {
		if !w.known[id] {
			result.MissingAuth = append(result.MissingAuth, id)
		}
	}
	for _, id := range e.PrevEvents() {
		if !slices.Contains(w.placed, id) && state == nil {
			result.MissingPrev = append(result.MissingPrev, id)
		}
	}
	if len(result.MissingAuth)+len(result.MissingPrev) > 0 {
		result.Status = messages.PduResult_MISSING
		return result
	}
	if state != nil {
		w.states[e.ID()] = state
	}
	w.take(e)
	return result
}

// Call is the other servers.
func (w *world) Call(ctx context.Context, r federation.Request) (jsontext.Value, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, err := url.Parse(r.URI)
	if err != nil {
		return nil, err
	}
	endpoint, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, v1+"/"), "/")
	w.asked = append(w.asked, r.Destination+" "+endpoint)
	if w.refuses[r.Destination] {
		return nil, federation.Unreachable(errors.New("no route"))
	}
	at := func(id string) int {
		return slices.IndexFunc(w.line, func(e *event.Event) bool { return e.ID() == id })
	}
	raws := func(events []*event.Event) []json.RawMessage {
		list := []json.RawMessage{}
		for _, e := range events {
			list = append(list, json.RawMessage(e.JSON()))
		}
		return list
	}
	var answer any
	switch endpoint {
	case "get_missing_events":
		var q struct {
			Earliest []string `json:"earliest_events"`
			Latest   []string `json:"latest_events"`
			Limit    int      `json:"limit"`
		}
		if err := json.Unmarshal(r.Body, &q); err != nil {
			return nil, err
		}
		to := at(q.Latest[0])
		from := max(at(q.Earliest[0])+1, to-min(w.most, q.Limit), 0)
		if w.blind[r.Destination] {
			from = to
		}
		answer = map[string]any{"events": raws(w.line[from:to])}
	case "backfill":
		to := at(u.Query()["v"][0]) + 1
		from := max(to-w.most, 0)
		if w.blind[r.Destination] {
			from = to
		}
		events := slices.Clone(w.line[from:to])
		slices.Reverse(events)
		answer = map[string]any{"origin": r.Destination, "pdus": raws(events)}
	case "state_ids":
		answer = map[string]any{"pdu_ids": []string{w.line[0].ID()}, "auth_chain_ids": []string{}}
	case "event_auth":
		answer = map[string]any{"auth_chain": raws(w.line[:1])}
	case "event":
		answer = map[string]any{"pdus": raws(w.line[at(rest) : at(rest)+1])}
	default:
		return nil, &federation.Error{Destination: r.Destination, Status: http.StatusNotFound, Code: "M_UNRECOGNIZED"}
	}
	raw, err := json.Marshal(answer)
	return raw, errors.Join(err, ctx.Err())
}

func (w *world) Open(context.Context, federation.Request) (io.ReadCloser, string, error) {
	return nil, "", errors.New("nobody reads whole states here")
}

// stage stages the events with these numbers and waits until the work on them is done.
func (w *world) stage(numbers ...int) {
	w.t.Helper()
	var events []*messages.Pdu
	for _, n := range numbers {
		events = append(events, &messages.Pdu{EventId: w.line[n].ID(), Json: w.line[n].JSON()})
	}
	if err := w.Stage(context.Background(), roomID, "b.example", events); err != nil {
		w.t.Fatal(err)
	}
	w.running.Wait()
}

func (w *world) staged() []schema.StagedPDU {
	w.t.Helper()
	rows, err := schema.StagedPDUs.All(context.Background(), w.d.Store, persistence.Range[schema.StagedPDU]{})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// has wants the room to have taken these events of the line, in this order.
func (w *world) has(from, to int) {
	w.t.Helper()
	var want []string
	for _, e := range w.line[from:to] {
		want = append(want, e.ID())
	}
	if got := w.placed[1:]; !slices.Equal(got, want) {
		w.t.Fatalf("the room took %d events, not %d, or in another order", len(got), len(want))
	}
	if left := w.staged(); len(left) != 0 {
		w.t.Fatalf("still staged: %v", left)
	}
}

func (w *world) count(call string) int {
	n := 0
	for _, a := range w.asked {
		if a == call {
			n++
		}
	}
	return n
}

func (w *world) String() string { return fmt.Sprint(w.asked) }
