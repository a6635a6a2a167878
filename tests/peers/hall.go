package peers

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Hall is a public room with many members, all of one stranger, who serves it to those who join: without the members unless they want them.
type Hall struct {
	ID      string
	Version *roomversion.Version
	host    *Stranger

	// The rest may be changed before the hall is asked for anything.
	Servers []string      // named as being in the room, besides the host
	Whole   bool          // the members are not left out, whatever is asked for
	Gate    chan struct{} // the whole state is given when it is closed; nil: at once
	// Lies and Refuses say of which strangers the whole state is told with signatures that are wrong, or not at all.
	Lies, Refuses func(server string) bool

	mu     sync.Mutex
	state  []*event.Event // each place once; what comes later is at the end
	places map[event.Tuple]string
	first  int            // so many came with the room
	before map[string]int // by event: so many of the state are before it
	byID   map[string]*event.Event
	tip    *event.Event
	got    []gjson.Result // PDUs that were sent
	asked  map[string]int // by endpoint
}

// NewHall makes the room with so many members.
func NewHall(t testing.TB, host *Stranger, version string, members int) *Hall {
	t.Helper()
	v, ok := roomversion.Get(version)
	if !ok {
		t.Fatalf("there is no room version %s", version)
	}
	h := &Hall{Version: v, host: host, before: map[string]int{}, byID: map[string]*event.Event{}, places: map[event.Tuple]string{}, asked: map[string]int{}}
	content := `{"room_version":"` + version + `"}`
	if !v.CreatorIsSender {
		content = `{"room_version":"` + version + `","creator":"` + h.User(0) + `"}`
	}
	if !v.RoomIDFromCreate {
		h.ID = "!hall:" + host.Name
	}
	h.add(t, "m.room.create", "", content)
	h.ID = h.state[0].RoomID()
	levels := `{"users":{"` + h.User(0) + `":100}}`
	if v.PrivilegedCreators {
		levels = `{"users":{}}`
	}
	creator := h.build(t, h.User(0), "m.room.member", h.User(0), `{"membership":"join"}`)
	h.keep(creator)
	for _, e := range [][2]string{{"m.room.power_levels", levels}, {"m.room.join_rules", `{"join_rule":"public"}`},
		{"m.room.history_visibility", `{"history_visibility":"shared"}`}, {"m.room.name", `{"name":"Hall"}`}} {
		h.add(t, e[0], "", e[1])
	}
	h.first = len(h.state)
	for i := 1; i < members; i++ {
		h.keep(h.build(t, h.User(i), "m.room.member", h.User(i), `{"membership":"join","displayname":"User `+fmt.Sprint(i)+`"}`))
	}
	h.Serve(host)
	return h
}

// User is the id of a member.
func (h *Hall) User(i int) string { return fmt.Sprintf("@user%d:%s", i, h.host.Name) }

func (h *Hall) add(t testing.TB, typ, key, content string) {
	h.keep(h.build(t, h.User(0), typ, key, content))
}

func (h *Hall) keep(e *event.Event) {
	h.before[e.ID()], h.byID[e.ID()], h.tip = len(h.state), e, e
	if e.IsState() {
		h.state, h.places[e.Tuple()] = append(h.state, e), e.ID()
	}
}

// authorisers are the auth events of an event of this sender.
func (h *Hall) authorisers(sender, typ string) []string {
	tuples := []event.Tuple{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.join_rules"}, {Type: "m.room.member", StateKey: sender}}
	ids := []string{}
	for _, t := range tuples {
		wanted := (t.Type != "m.room.create" || !h.Version.RoomIDFromCreate) && (t.Type != "m.room.join_rules" || typ == "m.room.member")
		if id, ok := h.places[t]; ok && wanted {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *Hall) build(t testing.TB, sender, typ, key, content string) *event.Event {
	t.Helper()
	p := event.Proto{Type: typ, Sender: sender, RoomID: h.ID, Content: []byte(content), Depth: 1, OriginServerTS: time.Now().UnixMilli(),
		EventIDRandom: fmt.Sprintf("e%d", len(h.byID))}
	if key != "-" {
		p.StateKey = &key
	}
	if h.tip != nil {
		p.PrevEvents, p.AuthEvents, p.Depth = []string{h.tip.ID()}, h.authorisers(sender, typ), h.tip.Depth()+1
	}
	e, err := event.Build(p, h.Version, h.host.Name, h.host.Key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Tip is the newest event.
func (h *Hall) Tip() *event.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tip
}

// Say has a member say something after an event, nil for the newest, and sends it to a server.
func (h *Hall) Say(t testing.TB, to string, member int, body string, after *event.Event) string {
	t.Helper()
	h.mu.Lock()
	if after != nil {
		h.tip = after
	}
	e := h.build(t, h.User(member), "m.room.message", "-", `{"msgtype":"m.text","body":"`+body+`"}`)
	h.keep(e)
	h.mu.Unlock()
	raw, err := json.Marshal(map[string]any{"origin": h.host.Name, "origin_server_ts": time.Now().UnixMilli(), "pdus": []jsontext.Value{e.JSON()}})
	if err == nil {
		_, err = h.host.Caller.Call(t.Context(), federation.Request{Destination: to, Method: http.MethodPut, Eager: true,
			URI: "/_matrix/federation/v1/send/" + url.PathEscape(e.ID()[1:]), Body: raw})
	}
	if err != nil {
		t.Fatal(err)
	}
	return e.ID()
}

// Got are the PDUs that other servers have sent.
func (h *Hall) Got() []gjson.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]gjson.Result{}, h.got...)
}

// Asked is how often an endpoint, such as state, was asked for.
func (h *Hall) Asked(endpoint string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[endpoint]
}

// Serve has a stranger serve the room, the host or another that is in it.
func (h *Hall) Serve(s *Stranger) {
	handle := func(pattern string, serve func(w http.ResponseWriter, q *http.Request)) {
		s.Mux.HandleFunc(pattern, func(w http.ResponseWriter, q *http.Request) {
			h.mu.Lock()
			h.asked[strings.Split(q.URL.Path, "/")[4]]++
			h.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			serve(w, q)
		})
	}
	const v1, v2 = "/_matrix/federation/v1/", "/_matrix/federation/v2/"
	handle("GET "+v1+"make_join/{room}/{user}", h.makeJoin)
	handle("PUT "+v2+"send_join/{room}/{event}", h.sendJoin)
	handle("GET "+v1+"state/{room}", func(w http.ResponseWriter, q *http.Request) {
		item := (*event.Event).JSON
		if h.Lies != nil && h.Lies(q.Host) {
			item = forged
		}
		h.whole(w, q, "pdus", "auth_chain", item)
	})
	handle("GET "+v1+"state_ids/{room}", func(w http.ResponseWriter, q *http.Request) {
		h.whole(w, q, "pdu_ids", "auth_chain_ids", func(e *event.Event) []byte { return []byte(`"` + e.ID() + `"`) })
	})
	handle("GET "+v1+"event/{event}", h.event)
	handle("GET "+v1+"event_auth/{room}/{event}", h.eventAuth)
	handle("PUT "+v1+"send/{txn}", h.receive)
	handle("GET "+v1+"backfill/{room}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"pdus":[]}`)) })
	handle("POST "+v1+"get_missing_events/{room}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"events":[]}`)) })
}

// forged is the event with a signature that is wrong.
func forged(e *event.Event) []byte {
	return []byte(strings.Replace(string(e.JSON()), `"depth":`, `"depth":1`, 1))
}

func (h *Hall) makeJoin(w http.ResponseWriter, q *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	user := q.PathValue("user")
	write(w, map[string]any{"room_version": h.Version.ID, "event": map[string]any{
		"type": "m.room.member", "state_key": user, "sender": user, "room_id": h.ID, "content": map[string]string{"membership": "join"},
		"prev_events": h.cited(h.tip.ID()), "auth_events": h.cited(h.authorisers(user, "m.room.member")...), "depth": h.tip.Depth() + 1}})
}

// cited is how events of the version name others.
func (h *Hall) cited(ids ...string) any {
	if h.Version.EventIDFormat != roomversion.EventIDField {
		return ids
	}
	pairs := [][]any{}
	for _, id := range ids {
		pairs = append(pairs, []any{id, map[string]string{}})
	}
	return pairs
}

func (h *Hall) sendJoin(w http.ResponseWriter, q *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	raw, err := readAll(q)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	join, err := event.Parse(raw, h.Version)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	partial := q.URL.Query().Get("omit_members") == "true" && !h.Whole
	state := h.state
	if partial {
		state = nil
		for _, e := range h.state[:h.first] {
			if e.Type() != "m.room.member" {
				state = append(state, e)
			}
		}
	}
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(`{"event":` + string(join.JSON()) + `,"members_omitted":` + fmt.Sprint(partial) + `,"servers_in_room":`)
	servers, _ := json.Marshal(append([]string{h.host.Name}, h.Servers...))
	_, _ = out.Write(servers)
	list(out, "state", state, (*event.Event).JSON)
	list(out, "auth_chain", h.state[:h.first], (*event.Event).JSON)
	_, _ = out.WriteString("}")
	_ = out.Flush()
	h.keep(join)
}

func (h *Hall) whole(w http.ResponseWriter, q *http.Request, state, chain string, item func(*event.Event) []byte) {
	if h.Gate != nil {
		select {
		case <-h.Gate:
		case <-q.Context().Done():
			return
		}
	}
	if h.Refuses != nil && h.Refuses(q.Host) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.mu.Lock()
	n, ok := h.before[q.URL.Query().Get("event_id")]
	events := h.state[:n:n]
	h.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errcode":"M_NOT_FOUND","error":"no such event"}`))
		return
	}
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(`{"origin":"` + h.host.Name + `"`)
	list(out, state, events, item)
	list(out, chain, events[:h.first], item)
	_, _ = out.WriteString("}")
	_ = out.Flush()
}

func list(out *bufio.Writer, name string, events []*event.Event, item func(*event.Event) []byte) {
	_, _ = out.WriteString(`,"` + name + `":[`)
	for i, e := range events {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		_, _ = out.Write(item(e))
	}
	_ = out.WriteByte(']')
}

func (h *Hall) event(w http.ResponseWriter, q *http.Request) {
	h.mu.Lock()
	e := h.byID[q.PathValue("event")]
	h.mu.Unlock()
	if e == nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errcode":"M_NOT_FOUND","error":"no such event"}`))
		return
	}
	write(w, map[string]any{"origin": h.host.Name, "origin_server_ts": 1, "pdus": []jsontext.Value{e.JSON()}})
}

func (h *Hall) eventAuth(w http.ResponseWriter, q *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	chain := map[string]*event.Event{}
	ids := []string{q.PathValue("event")}
	for len(ids) > 0 {
		e := h.byID[ids[0]]
		if ids = ids[1:]; e == nil {
			continue
		}
		for _, id := range e.Authorisers() {
			if chain[id] == nil {
				chain[id] = h.byID[id]
				ids = append(ids, id)
			}
		}
	}
	list := []jsontext.Value{}
	for _, e := range chain {
		list = append(list, e.JSON())
	}
	write(w, map[string]any{"auth_chain": list})
}

func (h *Hall) receive(w http.ResponseWriter, q *http.Request) {
	raw, err := readAll(q)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	results := map[string]any{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, pdu := range gjson.GetBytes(raw, "pdus").Array() {
		if e, err := event.Parse([]byte(pdu.Raw), h.Version); err == nil {
			results[e.ID()] = map[string]any{}
			if h.byID[e.ID()] == nil {
				h.keep(e)
				h.got = append(h.got, pdu)
			}
		}
	}
	write(w, map[string]any{"pdus": results})
}

// mostRead bounds what is read of a request.
const mostRead = 64 << 20

func readAll(q *http.Request) ([]byte, error) {
	var raw jsontext.Value
	err := json.UnmarshalRead(http.MaxBytesReader(nil, q.Body, mostRead), &raw)
	return raw, err
}

func write(w http.ResponseWriter, answer any) {
	raw, err := json.Marshal(answer)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(raw)
}
