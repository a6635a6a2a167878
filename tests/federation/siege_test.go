package federation

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// siege is a room of a real server, and a server of our own making that has a user in it and means no good.
type siege struct {
	t       *testing.T
	server  *peers.Server
	alice   *person
	mallory string // the user of the crafter
	c       *peers.Crafter
	room    *peers.Room
}

// fortress is a real server for sieges. It is patient for a few seconds only.
func fortress(t *testing.T) (*peers.Authority, *peers.Server) {
	t.Helper()
	authority := peers.NewAuthority(t)
	servers := authority.Start(1, "federation.timeout=3s", "federation.retry_longest=1s")
	t.Cleanup(func() {
		unharmed(t, servers[0])
		explain(t, servers)
	})
	return authority, servers[0]
}

// unharmed checks that nothing of what other servers did was more than the server could take.
func unharmed(t *testing.T, s *peers.Server) {
	t.Helper()
	for _, line := range strings.Split(s.Log(), "\n") {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") {
			t.Errorf("%s logs %s", s.Name, line)
		}
	}
	resp, err := http.Get(s.URL + "/metrics")
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	for _, line := range strings.Split(string(metrics), "\n") {
		if name, value, _ := strings.Cut(line, " "); name == "process_resident_memory_bytes" || name == "go_goroutines" {
			most := map[bool]float64{true: 1 << 30, false: 5_000}[name == "process_resident_memory_bytes"]
			if n, err := strconv.ParseFloat(value, 64); err != nil || n > most {
				t.Errorf("%s: %s is %s", s.Name, name, value)
			}
		}
		if strings.HasPrefix(line, "matrixon_http_request_seconds_count") && strings.Contains(line, `status="5xx"`) && strings.Contains(line, "/_matrix/federation") {
			t.Errorf("%s has failed: %s", s.Name, line)
		}
	}
}

// besiege makes a public room of alice's in which mallory of the crafter is.
func besiege(t *testing.T, authority *peers.Authority, server *peers.Server, version string) *siege {
	t.Helper()
	v := versionOf(t, version)
	s := &siege{t: t, server: server, alice: newPerson(t, server, fmt.Sprint("alice", transactions.Add(1))), c: authority.Crafter(t)}
	s.mallory = s.c.User("mallory")
	s.room = s.c.Join(server, s.alice.create(J{"preset": "public_chat", "room_version": version}), s.mallory, v)
	s.alice.seesMember(s.room.ID, s.mallory, "join")
	return s
}

func versionOf(t *testing.T, id string) *roomversion.Version {
	t.Helper()
	v, ok := roomversion.Get(id)
	if !ok {
		t.Fatalf("there is no room version %s", id)
	}
	return v
}

// send sends PDUs and gives their fates.
func (s *siege) send(raws ...[]byte) map[string]string {
	s.t.Helper()
	pdus := make([]jsontext.Value, len(raws))
	for i, raw := range raws {
		pdus[i] = raw
	}
	fates, err := s.transact(J{"pdus": pdus})
	if err != nil {
		s.t.Fatal(err)
	}
	return fates
}

func (s *siege) transact(body J) (map[string]string, error) {
	s.t.Helper()
	whole := J{"origin": s.c.Name, "origin_server_ts": 1, "pdus": []J{}}
	maps.Copy(whole, body)
	return s.c.Send(s.server, fmt.Sprint("t", transactions.Add(1)), whole)
}

// refuses checks with which status and errcode a transaction is refused.
func (s *siege) refuses(status int, code string, body J) {
	s.t.Helper()
	_, err := s.transact(body)
	var refusal *federation.Error
	if !errors.As(err, &refusal) || refusal.Status != status || refusal.Code != code {
		s.t.Errorf("%.100v, want %d %s", err, status, code)
	}
}

// message is a draft of a message of mallory's.
func (s *siege) message() event.Proto {
	return s.room.Draft(s.mallory, "m.room.message", `{"msgtype":"m.text","body":"from the crafter"}`)
}

// readable reports whether alice can read an event.
func (s *siege) readable(eventID string) bool {
	_, err := s.alice.Do(s.t.Context(), "GET", matrixclient.Path("rooms", s.room.ID, "event", eventID), nil)
	return err == nil
}

// healthy checks that the room goes on: good events pass in both directions, and both sides have the same state.
func (s *siege) healthy() {
	s.t.Helper()
	good := s.c.Put(s.room, s.message())
	if fate := s.send(good.JSON())[good.ID()]; fate != "" {
		s.t.Errorf("a good event is refused: %s", fate)
	}
	s.alice.has(s.room.ID, good.ID())
	s.c.Got(s.alice.say(s.room.ID, "all is well"))
	s.agreed()
}

// agreed checks that the real server has the state that the crafter's good events make.
func (s *siege) agreed() {
	s.t.Helper()
	want := map[string]string{}
	for place, id := range s.room.State() {
		want[place.Type+"|"+place.StateKey] = id
	}
	got := map[string]string{}
	for _, e := range s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "state"), nil).Array() {
		got[e.Get("type").Str+"|"+e.Get("state_key").Str] = e.Get("event_id").Str
	}
	for place := range want {
		if got[place] != want[place] {
			s.t.Errorf("%s is %q and should be %q", place, got[place], want[place])
		}
		delete(got, place)
	}
	if len(got) > 0 {
		s.t.Errorf("the room has the state %v", got)
	}
}

// tampered is the event with members of it changed.
func tampered(t *testing.T, e *event.Event, change func(m map[string]jsontext.Value)) []byte {
	t.Helper()
	m := map[string]jsontext.Value{}
	if err := json.Unmarshal(e.JSON(), &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	raw, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// body is what a request brings.
func body(t *testing.T, r *http.Request) []byte {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return raw
}
